#include "runtime/text/tokenizer_hf_steps.h"

#include "runtime/base/printable.h"
#include "runtime/text/json_field.h"
#include "runtime/text/pretokenizer_table.h"
#include "runtime/text/tokenizer_parts.h"

namespace onecopy::text {
namespace {

std::string TypeOf(const Json& component, std::string_view where) {
  return StringField(component, "type", where).value_or("(none)");
}

[[noreturn]] void Unsupported(std::string_view where, std::string_view type, std::string_view supported) {
  Fail(ErrorCode::kBadInput, "{} has the type '{}', which is not supported; supported are {}", where,
       Printable(type), supported);
}

// Calls visit(component, where) for a component, or for each of a Sequence's under `list_key`; not for null.
template <typename Visit>
void ForEachComponent(const Json& component, std::string_view list_key, const std::string& where,
                      const Visit& visit) {
  // A file may nest sequences as deep as the JSON parser allows; no tokenizer nests them more than twice.
  const auto walk = [&](const auto& self, const Json& node, const std::string& path, int depth) -> void {
    if (node.is_null()) return;
    if (depth > 8) Fail(ErrorCode::kBadInput, "{}: sequences are nested too deeply", path);
    if (TypeOf(node, path) != "Sequence") return visit(node, path);
    const Json& list = ArrayField(node, list_key, path);
    for (size_t i = 0; i < list.size(); ++i)
      self(self, list[i], fmt::format("{}.{}[{}]", path, list_key, i), depth + 1);
  };
  walk(walk, component, where, 0);
}

// The pattern of a Split or Replace: {"String": ...} or {"Regex": ...}, as a regular expression.
std::string PatternOf(const Json& component, const std::string& where) {
  const Json& pattern = Member(component, "pattern");
  if (const auto literal = StringField(pattern, "String", where)) return EscapeRegex(*literal);
  if (const auto regex = StringField(pattern, "Regex", where)) return *regex;
  Fail(ErrorCode::kBadInput, "{}.pattern has neither String nor Regex", where);
}

PreTokenizerStep::Kind SplitKind(const std::string& behavior, bool invert, const std::string& where) {
  using Kind = PreTokenizerStep::Kind;
  if (behavior == "Isolated") return Kind::kIsolate;
  if (behavior == "Removed") return invert ? Kind::kMatchesOnly : Kind::kRemove;
  if (behavior == "MergedWithPrevious" && !invert) return Kind::kMergeWithPrevious;
  if (behavior == "MergedWithNext" && !invert) return Kind::kMergeWithNext;
  Fail(ErrorCode::kBadInput, "{}: the behavior '{}'{} of a Split is not supported", where,
       Printable(behavior), invert ? " inverted" : "");
}

PreTokenizerStep RegexStep(std::string_view pattern, const std::string& where,
                           PreTokenizerStep::Kind kind = PreTokenizerStep::Kind::kIsolate) {
  return {kind, Regex(pattern, where), {}};
}

void AddMetaspace(const Json& component, const std::string& where, std::vector<PreTokenizerStep>* steps) {
  using Kind = PreTokenizerStep::Kind;
  const std::string mark = StringField(component, "replacement", where).value_or(std::string(kSpaceMark));
  // Before prepend_scheme there was add_prefix_space.
  const bool prefix = BoolField(component, "add_prefix_space", true, where);
  const std::string scheme =
      StringField(component, "prepend_scheme", where).value_or(prefix ? "always" : "never");
  steps->push_back({Kind::kReplace, std::nullopt, mark});
  if (scheme == "always") steps->push_back({Kind::kPrefix, std::nullopt, mark});
  if (scheme == "first") steps->push_back({Kind::kPrefixFirst, std::nullopt, mark});
  if (BoolField(component, "split", true, where)) {
    steps->push_back(RegexStep(EscapeRegex(mark), where, Kind::kMergeWithNext));
  }
}

// "{"SpecialToken": {"id": "<s>"}}" to the ids that special_tokens gives for it.
void AddTemplateToken(const Json& item, const Json& component, const std::string& where, int64_t vocab_size,
                      std::vector<int32_t>* ids) {
  const std::string name = StringField(Member(item, "SpecialToken"), "id", where).value_or("");
  const Json& entry = Member(Member(component, "special_tokens"), name);
  if (!entry.is_object()) {
    Fail(ErrorCode::kBadInput, "{}.special_tokens has no '{}', which its template uses", where,
         Printable(name));
  }
  for (const Json& id : ArrayField(entry, "ids", where + ".special_tokens")) {
    ids->push_back(TokenId(
        id, vocab_size, [&] { return fmt::format("{}.special_tokens['{}'].ids", where, Printable(name)); }));
  }
}

NormalizerStep ReadNormalizerStep(const Json& component, const std::string& where) {
  using Kind = NormalizerStep::Kind;
  const std::string type = TypeOf(component, where);
  if (type == "NFC") return {Kind::kNfc, {}, {}};
  if (type == "NFD") return {Kind::kNfd, {}, {}};
  if (type == "NFKC") return {Kind::kNfkc, {}, {}};
  if (type == "NFKD") return {Kind::kNfkd, {}, {}};
  if (type == "Prepend") return {Kind::kPrepend, {}, StringField(component, "prepend", where).value_or("")};
  const std::optional<std::string> literal = StringField(Member(component, "pattern"), "String", where);
  if (type == "Replace" && literal) {
    return {Kind::kReplace, *literal, StringField(component, "content", where).value_or("")};
  }
  Unsupported(where, type, "NFC, NFD, NFKC, NFKD, Prepend, Replace of a String, Sequence");
}

void AddByteLevel(const Json& component, const std::string& where, PreTokenizerSpec* spec) {
  spec->byte_level = true;
  if (BoolField(component, "add_prefix_space", true, where)) {
    spec->steps.push_back({PreTokenizerStep::Kind::kPrefix, std::nullopt, " "});
  }
  if (BoolField(component, "use_regex", true, where)) {
    spec->steps.push_back(RegexStep(FindPreTokenizer("gpt-2")->patterns[0], where));
  }
}

void AddPreTokenizerSteps(const Json& component, const std::string& where, PreTokenizerSpec* spec) {
  const std::string type = TypeOf(component, where);
  if (type == "Split") {
    const std::string behavior = StringField(component, "behavior", where).value_or("");
    const auto kind = SplitKind(behavior, BoolField(component, "invert", false, where), where);
    spec->steps.push_back(RegexStep(PatternOf(component, where), where, kind));
  } else if (type == "ByteLevel") {
    AddByteLevel(component, where, spec);
  } else if (type == "Digits") {
    const bool individual = BoolField(component, "individual_digits", false, where);
    spec->steps.push_back(RegexStep(individual ? R"(\p{N})" : R"(\p{N}+)", where));
  } else if (type == "Metaspace") {
    AddMetaspace(component, where, &spec->steps);
  } else {
    Unsupported(where, type, "Split, ByteLevel, Digits, Metaspace, Sequence");
  }
}

void AddSurrounding(const Json& component, const std::string& where, int64_t vocab_size, Surrounding* out) {
  const std::string type = TypeOf(component, where);
  if (type == "ByteLevel") return;  // only changes offsets
  if (type != "TemplateProcessing") Unsupported(where, type, "TemplateProcessing, ByteLevel, Sequence");
  std::vector<int32_t> before, after;
  bool seen_text = false;
  for (const Json& item : ArrayField(component, "single", where)) {
    if (item.is_object() && item.contains("Sequence")) {
      seen_text = true;
    } else {
      AddTemplateToken(item, component, where, vocab_size, seen_text ? &after : &before);
    }
  }
  // Later processors wrap what earlier ones made.
  out->before.insert(out->before.begin(), before.begin(), before.end());
  out->after.insert(out->after.end(), after.begin(), after.end());
}

void AddDecoder(const Json& component, const std::string& where, DecoderSpec* spec) {
  const std::string type = TypeOf(component, where);
  if (type == "ByteLevel") {
    spec->byte_level = true;
  } else if (type == "ByteFallback") {
    spec->byte_fallback = true;
  } else if (type == "Metaspace") {
    spec->strips_leading_space =
        StringField(component, "prepend_scheme", where).value_or("always") != "never";
  } else if (type == "Strip") {
    spec->strips_leading_space = Member(component, "start") == 1;
  } else if (type == "Replace") {
    const auto from = StringField(Member(component, "pattern"), "String", where);
    if (from != kSpaceMark || StringField(component, "content", where) != " ") {
      Unsupported(where, "Replace", "Replace of U+2581 by a space only");
    }
  } else if (type != "Fuse") {
    Unsupported(where, type, "ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip, Sequence");
  }
}

}  // namespace

std::vector<NormalizerStep> ReadNormalizer(const Json& tokenizer) {
  std::vector<NormalizerStep> steps;
  ForEachComponent(Member(tokenizer, "normalizer"), "normalizers", "tokenizer.json: normalizer",
                   [&](const Json& component, const std::string& where) {
                     steps.push_back(ReadNormalizerStep(component, where));
                   });
  return steps;
}

PreTokenizerSpec ReadPreTokenizer(const Json& tokenizer) {
  PreTokenizerSpec spec;
  ForEachComponent(Member(tokenizer, "pre_tokenizer"), "pretokenizers", "tokenizer.json: pre_tokenizer",
                   [&](const Json& component, const std::string& where) {
                     AddPreTokenizerSteps(component, where, &spec);
                   });
  return spec;
}

Surrounding ReadPostProcessor(const Json& tokenizer, int64_t vocab_size) {
  Surrounding out;
  ForEachComponent(Member(tokenizer, "post_processor"), "processors", "tokenizer.json: post_processor",
                   [&](const Json& component, const std::string& where) {
                     AddSurrounding(component, where, vocab_size, &out);
                   });
  return out;
}

DecoderSpec ReadDecoder(const Json& tokenizer) {
  DecoderSpec spec;
  ForEachComponent(
      Member(tokenizer, "decoder"), "decoders", "tokenizer.json: decoder",
      [&](const Json& component, const std::string& where) { AddDecoder(component, where, &spec); });
  return spec;
}

}  // namespace onecopy::text
