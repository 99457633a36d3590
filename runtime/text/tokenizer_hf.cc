// Tokenizer::FromHuggingFace: tokenizer.json and the files beside it to the parts of a tokenizer.
// Source: Hugging Face tokenizers 0.2x (models/bpe, added_vocabulary), transformers (tokenizer_config.json).
#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"
#include "runtime/text/bpe.h"
#include "runtime/text/json_field.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/tokenizer_hf_steps.h"
#include "runtime/text/tokenizer_parts.h"

namespace onecopy::text {
namespace {

const std::string kModel = "tokenizer.json: model";
const std::string kAdded = "tokenizer.json: added_tokens";

std::vector<AddedToken> ReadAddedTokens(const Json& tokenizer) {
  std::vector<AddedToken> added;
  if (Member(tokenizer, "added_tokens").is_null()) return added;
  for (const Json& entry : ArrayField(tokenizer, "added_tokens", "tokenizer.json")) {
    const std::string where = fmt::format("{}[{}]", kAdded, added.size());
    const std::optional<std::string> content = StringField(entry, "content", where);
    if (!content) Fail(ErrorCode::kBadInput, "{}.content is missing", where);
    const bool special = BoolField(entry, "special", false, where);
    added.push_back({.content = *content,
                     .id = TokenId(Member(entry, "id"), kMaxVocabulary, [&] { return where + ".id"; }),
                     .special = special,
                     .normalized = BoolField(entry, "normalized", !special, where),
                     .single_word = BoolField(entry, "single_word", false, where),
                     .strip_left = BoolField(entry, "lstrip", false, where),
                     .strip_right = BoolField(entry, "rstrip", false, where)});
  }
  return added;
}

// Tables of text and kind by id, which grow with the ids that are set.
class VocabularyBuilder {
 public:
  void Set(int32_t id, const std::string& token, TokenKind kind, std::string_view where) {
    if (static_cast<size_t>(id) >= text_.size()) {
      text_.resize(id + 1);
      kind_.resize(id + 1, TokenKind::kUndefined);
    }
    if (!text_[id].empty() && text_[id] != token) {
      Fail(ErrorCode::kBadInput, "{}: the id {} belongs to two tokens, '{}' and '{}'", where, id,
           Printable(text_[id]), Printable(token));
    }
    text_[id] = token;
    kind_[id] = kind;
  }
  std::shared_ptr<const Vocabulary> Build() {
    return Vocabulary::Build(std::move(text_), std::move(kind_),
                             "tokenizer.json: model.vocab and added_tokens");
  }

 private:
  std::vector<std::string> text_;
  std::vector<TokenKind> kind_;
};

std::shared_ptr<const Vocabulary> ReadVocabulary(const Json& model, const std::vector<AddedToken>& added) {
  const Json& vocab = Member(model, "vocab");
  if (!vocab.is_object() || vocab.empty()) {
    Fail(ErrorCode::kBadInput, "{}.vocab is a {}, expected an object of tokens and ids", kModel,
         vocab.is_object() ? "empty object" : vocab.type_name());
  }
  VocabularyBuilder builder;
  for (const auto& [token, id] : vocab.items()) {
    const auto where = [&token = token] { return fmt::format("{}.vocab['{}']", kModel, Printable(token)); };
    builder.Set(TokenId(id, kMaxVocabulary, where), token, TokenKind::kNormal, kModel + ".vocab");
  }
  for (const AddedToken& token : added) {
    builder.Set(token.id, token.content, token.special ? TokenKind::kControl : TokenKind::kUserDefined,
                kAdded);
  }
  return builder.Build();
}

// "a b" in older files, ["a", "b"] since tokenizers 0.20.
std::vector<std::pair<std::string, std::string>> ReadMerges(const Json& model) {
  std::vector<std::pair<std::string, std::string>> merges;
  const Json& array = ArrayField(model, "merges", kModel);
  merges.reserve(array.size());
  for (const Json& entry : array) {
    if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
      merges.emplace_back(entry[0].get<std::string>(), entry[1].get<std::string>());
      continue;
    }
    const std::string text = entry.is_string() ? entry.get<std::string>() : std::string();
    const size_t space = text.find(' ');
    if (space == text.npos || text.find(' ', space + 1) != text.npos) {
      Fail(ErrorCode::kBadInput, "{}.merges[{}] is neither a pair of tokens nor a string of two", kModel,
           merges.size());
    }
    merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  }
  return merges;
}

WordEncoder ReadBpe(const Json& model, bool byte_level, const std::shared_ptr<const Vocabulary>& vocabulary) {
  for (const char* affix : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!StringField(model, affix, kModel).value_or("").empty()) {
      Fail(ErrorCode::kBadInput, "{}.{} is set, which is not supported", kModel, affix);
    }
  }
  BpeOptions options{.byte_level = byte_level,
                     .ignore_merges = BoolField(model, "ignore_merges", false, kModel),
                     .byte_fallback = BoolField(model, "byte_fallback", false, kModel),
                     .fuse_unknown = BoolField(model, "fuse_unk", false, kModel)};
  if (const auto unknown = StringField(model, "unk_token", kModel)) {
    options.unknown_id = vocabulary->Find(*unknown);
    if (options.unknown_id < 0) {
      Fail(ErrorCode::kBadInput, "{}.unk_token is '{}', which the vocabulary does not have", kModel,
           Printable(*unknown));
    }
  }
  return MakeBpeEncoder(vocabulary, ReadMerges(model), options, kModel + ".merges");
}

struct ModelKind {
  std::string_view name;  // tokenizer.json: model.type
  WordEncoder (*build)(const Json& model, bool byte_level,
                       const std::shared_ptr<const Vocabulary>& vocabulary);
};
constexpr ModelKind kModelKinds[] = {{"BPE", ReadBpe}};

const ModelKind& FindModelKind(const Json& model) {
  // Files from before 2020 have no type; they are BPE when they have merges.
  const std::string fallback = Member(model, "merges").is_array() ? "BPE" : "(none)";
  const std::string name = StringField(model, "type", kModel).value_or(fallback);
  std::string known;
  for (const ModelKind& kind : kModelKinds) {
    if (kind.name == name) return kind;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", kind.name);
  }
  Fail(ErrorCode::kBadInput, "{}.type is '{}', a kind of tokenizer that is not supported; supported are {}",
       kModel, Printable(name), known);
}

// A special token in tokenizer_config.json is a string, or an object with its content.
int32_t ConfiguredToken(const Json& config, std::string_view key, const Vocabulary& vocabulary) {
  const Json& value = Member(config, key);
  const Json& content = value.is_object() ? Member(value, "content") : value;
  return content.is_string() ? vocabulary.Find(content.get<std::string>()) : -1;
}

// eos_token_id of generation_config.json or config.json: an id, a list of ids, or null. Ids past the
// tokenizer's vocabulary are skipped: published configs keep those of the model they were derived from.
std::vector<int32_t> ConfiguredIds(const Json& config, std::string_view key, std::string_view file,
                                   int32_t vocab_size) {
  std::vector<int32_t> ids;
  const Json& value = Member(config, key);
  if (value.is_null()) return ids;
  for (const Json& id : value.is_array() ? value : Json::array({value})) {
    const int32_t known = TokenId(id, INT32_MAX, [&] { return fmt::format("{}: {}", file, key); });
    if (known < vocab_size) ids.push_back(known);
  }
  return ids;
}

void ReadSpecialIds(const Json& tokenizer_config, const Json& generation_config, const Json& config,
                    TokenizerParts* parts) {
  const Vocabulary& vocabulary = *parts->vocabulary;
  std::vector<int32_t> ends =
      ConfiguredIds(generation_config, "eos_token_id", "generation_config.json", vocabulary.size());
  if (ends.empty()) ends = ConfiguredIds(config, "eos_token_id", "config.json", vocabulary.size());
  const std::vector<int32_t> begins = ConfiguredIds(config, "bos_token_id", "config.json", vocabulary.size());
  parts->bos = ConfiguredToken(tokenizer_config, "bos_token", vocabulary);
  // "bos_token": null says that there is none, whatever config.json has kept.
  const bool said = tokenizer_config.is_object() && tokenizer_config.contains("bos_token");
  if (parts->bos < 0 && !said && !begins.empty()) parts->bos = begins[0];
  parts->eos = ConfiguredToken(tokenizer_config, "eos_token", vocabulary);
  if (parts->eos < 0 && !ends.empty()) parts->eos = ends[0];
  parts->eot = ConfiguredToken(tokenizer_config, "eot_token", vocabulary);
  if (parts->eot < 0) parts->eot = parts->eos;
  for (const int32_t id : {parts->eos, parts->eot}) {
    if (id >= 0) ends.push_back(id);
  }
  parts->end_of_generation = std::move(ends);
  if (parts->end_of_generation.empty()) AddWellKnownEnds(parts);
  FinishEnds(parts);
}

// add_bos_token and add_eos_token, where given, override the post-processor, as transformers does.
void ApplyAddFlags(const Json& tokenizer_config, TokenizerParts* parts) {
  const auto apply = [&](const char* key, int32_t id, std::vector<int32_t>* ids) {
    if (Member(tokenizer_config, key).is_null()) return;
    const bool add = BoolField(tokenizer_config, key, false, "tokenizer_config.json");
    const bool adds = id >= 0 && std::find(ids->begin(), ids->end(), id) != ids->end();
    if (add && id < 0)
      Fail(ErrorCode::kBadInput, "tokenizer_config.json: {} is true, but there is no such token", key);
    if (add && !adds) ids->push_back(id);
    if (!add && adds) std::erase(*ids, id);
  };
  apply("add_bos_token", parts->bos, &parts->before);
  apply("add_eos_token", parts->eos, &parts->after);
}

// Sorts the added tokens by where they are looked for. Those that are normalised are also shown so.
void SetAddedTokens(const std::vector<AddedToken>& added, TokenizerParts* parts) {
  std::vector<AddedToken> as_given, normalized;
  for (const AddedToken& token : added) {
    if (!token.normalized) {
      as_given.push_back(token);
      continue;
    }
    normalized.push_back(token);
    std::string& content = normalized.back().content;
    content = Normalize(parts->normalizer, token.content);
    if (!token.special) parts->pieces[token.id] = ReplaceAll(content, kSpaceMark, " ");
  }
  parts->added = AddedTokenMatcher(std::move(as_given));
  parts->added_normalized = AddedTokenMatcher(std::move(normalized));
}

// A string, or a list of {"name", "template"}.
std::vector<std::pair<std::string, std::string>> ReadChatTemplates(const Json& tokenizer_config) {
  const std::string where = "tokenizer_config.json: chat_template";
  const Json& value = Member(tokenizer_config, "chat_template");
  if (value.is_null()) return {};
  if (value.is_string()) return {{"default", value.get<std::string>()}};
  std::vector<std::pair<std::string, std::string>> templates;
  for (const Json& entry : ArrayField(tokenizer_config, "chat_template", "tokenizer_config.json")) {
    const std::optional<std::string> name = StringField(entry, "name", where);
    const std::optional<std::string> source = StringField(entry, "template", where);
    if (!name || !source)
      Fail(ErrorCode::kBadInput, "{}[{}] lacks its name or template", where, templates.size());
    templates.emplace_back(*name, *source);
  }
  return templates;
}

// Each "…_token" of tokenizer_config.json, which is a string or an object with its content.
std::vector<std::pair<std::string, std::string>> ReadNamedTokens(const Json& tokenizer_config) {
  std::vector<std::pair<std::string, std::string>> tokens;
  if (!tokenizer_config.is_object()) return tokens;
  for (const auto& [key, value] : tokenizer_config.items()) {
    const Json& content = value.is_object() ? Member(value, "content") : value;
    if (key.ends_with("_token") && content.is_string()) tokens.emplace_back(key, content.get<std::string>());
  }
  return tokens;
}

}  // namespace

Tokenizer Tokenizer::FromHuggingFace(const nlohmann::json& tokenizer_json,
                                     const nlohmann::json& tokenizer_config,
                                     const nlohmann::json& generation_config, const nlohmann::json& config) {
  const Json& model = Member(tokenizer_json, "model");
  if (!model.is_object())
    Fail(ErrorCode::kBadInput, "tokenizer.json: model is a {}, expected an object", model.type_name());
  const ModelKind& kind = FindModelKind(model);
  auto parts = std::make_shared<TokenizerParts>();
  const std::vector<AddedToken> added = ReadAddedTokens(tokenizer_json);
  parts->vocabulary = ReadVocabulary(model, added);
  parts->normalizer = ReadNormalizer(tokenizer_json);
  PreTokenizerSpec pre_tokenizer = ReadPreTokenizer(tokenizer_json);
  parts->pre_tokenizer = std::move(pre_tokenizer.steps);
  parts->encode_word = kind.build(model, pre_tokenizer.byte_level, parts->vocabulary);

  const DecoderSpec decoder = ReadDecoder(tokenizer_json);
  const bool byte_level = decoder.byte_level || pre_tokenizer.byte_level;
  parts->pieces = byte_level ? ByteLevelPieces(*parts->vocabulary)
                             : SentencePieces(*parts->vocabulary, decoder.byte_fallback);
  SetAddedTokens(added, parts.get());
  parts->strips_leading_space = decoder.strips_leading_space;
  Surrounding surrounding = ReadPostProcessor(tokenizer_json, parts->vocabulary->size());
  parts->before = std::move(surrounding.before);
  parts->after = std::move(surrounding.after);
  ReadSpecialIds(tokenizer_config, generation_config, config, parts.get());
  ApplyAddFlags(tokenizer_config, parts.get());
  parts->chat_templates = ReadChatTemplates(tokenizer_config);
  parts->named_tokens = ReadNamedTokens(tokenizer_config);
  return Tokenizer(std::move(parts));
}

}  // namespace onecopy::text
