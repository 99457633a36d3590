// Tokenizer::FromGguf: the keys tokenizer.* of a GGUF file to the parts of a tokenizer.
// Source: GGUF specification v3; defaults where a key is absent as in llama.cpp.
#include <cmath>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"
#include "runtime/text/bpe.h"
#include "runtime/text/json_field.h"
#include "runtime/text/pretokenizer_table.h"
#include "runtime/text/spm.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/tokenizer_parts.h"

namespace onecopy::text {
namespace {

constexpr std::string_view kGgml = "tokenizer.ggml";

std::string Key(std::string_view name) {
  return fmt::format("{}.{}", kGgml, name);
}

const Json& RequiredArray(const Json& metadata, std::string_view name) {
  const Json& value = Member(metadata, Key(name));
  if (!value.is_array()) {
    Fail(ErrorCode::kBadInput, "{}.{} is a {}, expected an array; the file has no usable tokenizer", kGgml,
         name, value.is_null() ? "missing key" : value.type_name());
  }
  return value;
}

// -1 when absent.
int32_t OptionalId(const Json& metadata, std::string_view name, int32_t vocab_size) {
  const Json& value = Member(metadata, Key(name));
  return value.is_null() ? -1 : TokenId(value, vocab_size, [name] { return Key(name); });
}

std::shared_ptr<const Vocabulary> ReadGgufVocabulary(const Json& metadata) {
  const Json& tokens = RequiredArray(metadata, "tokens");
  if (tokens.empty() || static_cast<int64_t>(tokens.size()) > kMaxVocabulary) {
    Fail(ErrorCode::kBadInput, "{}.tokens has {} entries, expected 1 to {}", kGgml, tokens.size(),
         kMaxVocabulary);
  }
  std::vector<std::string> text;
  text.reserve(tokens.size());
  for (const Json& token : tokens) {
    if (!token.is_string()) {
      Fail(ErrorCode::kBadInput, "{}.tokens[{}] is a {}, expected a string", kGgml, text.size(),
           token.type_name());
    }
    text.push_back(token.get<std::string>());
  }
  std::vector<TokenKind> kind(text.size(), TokenKind::kNormal);
  if (!Member(metadata, Key("token_type")).is_null()) {
    const Json& types = RequiredArray(metadata, "token_type");
    if (types.size() != text.size()) {
      Fail(ErrorCode::kBadInput, "{}.token_type has {} entries, expected {} as {}.tokens", kGgml,
           types.size(), text.size(), kGgml);
    }
    constexpr int kKinds = static_cast<int>(TokenKind::kByte) + 1;
    for (size_t i = 0; i < kind.size(); ++i) {
      if (!types[i].is_number_integer() || types[i].get<int64_t>() < 0 || types[i].get<int64_t>() >= kKinds) {
        Fail(ErrorCode::kBadInput, "{}.token_type[{}] is not an integer from 0 to {}", kGgml, i, kKinds - 1);
      }
      kind[i] = static_cast<TokenKind>(types[i].get<int>());
    }
  }
  return Vocabulary::Build(std::move(text), std::move(kind), Key("tokens"));
}

std::vector<std::pair<std::string, std::string>> ReadGgufMerges(const Json& metadata) {
  const Json& array = RequiredArray(metadata, "merges");
  std::vector<std::pair<std::string, std::string>> merges;
  merges.reserve(array.size());
  for (const Json& entry : array) {
    const std::string text = entry.is_string() ? entry.get<std::string>() : std::string();
    const size_t space = text.find(' ', 1);
    if (space == text.npos || space + 1 == text.size()) {
      Fail(ErrorCode::kBadInput, "{}.merges[{}] is not a string of two tokens and a space", kGgml,
           merges.size());
    }
    merges.emplace_back(text.substr(0, space), text.substr(space + 1));
  }
  return merges;
}

// What a kind of model leaves for the file's own keys to override.
struct KindDefaults {
  bool add_bos = false;
};

KindDefaults BuildByteLevelBpe(const Json& metadata, TokenizerParts* parts) {
  const std::string where(kGgml);
  const std::string pre = StringField(metadata, Key("pre"), "metadata").value_or("default");
  const PreTokenizerPreset* preset = FindPreTokenizer(pre);
  if (preset == nullptr) {
    const char* needs = WhatPreTokenizerNeeds(pre);
    Fail(ErrorCode::kBadInput, "{}.pre is '{}', a pre-tokenizer that is not supported{}{}; supported are {}",
         kGgml, Printable(pre), needs == nullptr ? "" : ": ", needs == nullptr ? "" : needs,
         PreTokenizerNames());
  }
  if (preset->nfc) parts->normalizer.push_back({NormalizerStep::Kind::kNfc, {}, {}});
  parts->pre_tokenizer = StepsOf(*preset);
  parts->encode_word =
      MakeBpeEncoder(parts->vocabulary, ReadGgufMerges(metadata),
                     {.byte_level = true,
                      .ignore_merges = preset->ignore_merges,
                      .unknown_id = OptionalId(metadata, "unknown_token_id", parts->vocabulary->size())},
                     Key("merges"));
  parts->pieces = ByteLevelPieces(*parts->vocabulary);
  return {.add_bos = preset->add_bos};
}

KindDefaults BuildSentencePiece(const Json& metadata, TokenizerParts* parts) {
  const Json& array = RequiredArray(metadata, "scores");
  if (static_cast<int64_t>(array.size()) != parts->vocabulary->size()) {
    Fail(ErrorCode::kBadInput, "{}.scores has {} entries, expected {} as {}.tokens", kGgml, array.size(),
         parts->vocabulary->size(), kGgml);
  }
  std::vector<float> scores;
  scores.reserve(array.size());
  for (const Json& score : array) {
    if (!score.is_number() || !std::isfinite(score.get<float>())) {
      Fail(ErrorCode::kBadInput, "{}.scores[{}] is not a finite number", kGgml, scores.size());
    }
    scores.push_back(score.get<float>());
  }
  parts->encode_word = MakeSpmEncoder(parts->vocabulary, std::move(scores),
                                      OptionalId(metadata, "unknown_token_id", parts->vocabulary->size()));
  const bool prefix = BoolField(metadata, Key("add_space_prefix"), true, "metadata");
  if (prefix) parts->normalizer.push_back({NormalizerStep::Kind::kPrepend, {}, " "});
  parts->normalizer.push_back({NormalizerStep::Kind::kReplace, " ", std::string(kSpaceMark)});
  parts->pieces = SentencePieces(*parts->vocabulary, /*byte_fallback=*/true);
  parts->strips_leading_space = prefix;
  return {.add_bos = true};
}

struct GgufModel {
  std::string_view name;  // tokenizer.ggml.model
  KindDefaults (*build)(const Json& metadata, TokenizerParts* parts);
};
constexpr GgufModel kGgufModels[] = {{"gpt2", BuildByteLevelBpe}, {"llama", BuildSentencePiece}};

const GgufModel& FindGgufModel(const Json& metadata) {
  const std::optional<std::string> name = StringField(metadata, Key("model"), "metadata");
  if (!name) Fail(ErrorCode::kBadInput, "{}.model is missing; the file has no tokenizer", kGgml);
  std::string known;
  for (const GgufModel& kind : kGgufModels) {
    if (kind.name == *name) return kind;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", kind.name);
  }
  Fail(ErrorCode::kBadInput, "{}.model is '{}', a kind of tokenizer that is not supported; supported are {}",
       kGgml, Printable(*name), known);
}

void ReadGgufAddedTokens(TokenizerParts* parts) {
  const Vocabulary& vocabulary = *parts->vocabulary;
  std::vector<AddedToken> added;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const TokenKind kind = vocabulary.kind(id);
    const bool special = kind == TokenKind::kControl || kind == TokenKind::kUnknown;
    if (!special && kind != TokenKind::kUserDefined) continue;
    added.push_back({.content = vocabulary.text(id), .id = id, .special = special});
  }
  parts->added = AddedTokenMatcher(std::move(added));
}

void ReadGgufSpecialIds(const Json& metadata, const KindDefaults& defaults, TokenizerParts* parts) {
  const int32_t vocab_size = parts->vocabulary->size();
  parts->bos = OptionalId(metadata, "bos_token_id", vocab_size);
  parts->eos = OptionalId(metadata, "eos_token_id", vocab_size);
  parts->eot = OptionalId(metadata, "eot_token_id", vocab_size);
  const int32_t eom = OptionalId(metadata, "eom_token_id", vocab_size);
  for (const int32_t id : {parts->eos, parts->eot, eom}) {
    if (id >= 0) parts->end_of_generation.push_back(id);
  }
  AddWellKnownEnds(parts);
  FinishEnds(parts);
  if (parts->eot < 0) parts->eot = parts->eos;

  const auto add = [&](std::string_view key, bool fallback, int32_t id, std::string_view id_key,
                       std::vector<int32_t>* to) {
    const bool said = !Member(metadata, Key(key)).is_null();
    if (!BoolField(metadata, Key(key), fallback, "metadata")) return;
    if (id >= 0) {
      to->push_back(id);
    } else if (said) {
      Fail(ErrorCode::kBadInput, "{}.{} is true, but {}.{} is missing", kGgml, key, kGgml, id_key);
    }
  };
  add("add_bos_token", defaults.add_bos, parts->bos, "bos_token_id", &parts->before);
  add("add_eos_token", false, parts->eos, "eos_token_id", &parts->after);
}

// tokenizer.chat_template, and others as tokenizer.chat_template.NAME.
void ReadGgufChatTemplates(const Json& metadata, TokenizerParts* parts) {
  const std::string key = "tokenizer.chat_template";
  if (const auto source = StringField(metadata, key, "metadata"))
    parts->chat_templates.emplace_back("default", *source);
  for (const auto& [name, value] : metadata.items())
    if (name.starts_with(key + ".") && value.is_string())
      parts->chat_templates.emplace_back(name.substr(key.size() + 1), value.get<std::string>());
  for (const auto& [name, id_key] : {std::pair("bos_token", "bos_token_id"),
                                     {"eos_token", "eos_token_id"},
                                     {"unk_token", "unknown_token_id"},
                                     {"sep_token", "seperator_token_id"},  // spelled so in the specification
                                     {"pad_token", "padding_token_id"}}) {
    // Only templates read some of these, so one out of range is as good as none.
    const Json& value = Member(metadata, Key(id_key));
    const int64_t id = value.is_number_integer() ? value.get<int64_t>() : -1;
    if (id >= 0 && id < parts->vocabulary->size())
      parts->named_tokens.emplace_back(name, parts->vocabulary->text(static_cast<int32_t>(id)));
  }
}

}  // namespace

Tokenizer Tokenizer::FromGguf(const nlohmann::json& metadata) {
  const GgufModel& kind = FindGgufModel(metadata);
  auto parts = std::make_shared<TokenizerParts>();
  parts->vocabulary = ReadGgufVocabulary(metadata);
  const KindDefaults defaults = kind.build(metadata, parts.get());
  ReadGgufAddedTokens(parts.get());
  ReadGgufSpecialIds(metadata, defaults, parts.get());
  ReadGgufChatTemplates(metadata, parts.get());
  return Tokenizer(std::move(parts));
}

}  // namespace onecopy::text
