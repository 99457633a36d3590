// Vocabularies in files of other kinds than tokenizer.json, as the GGUF keys that say the same: Tokenizer::FromGguf does the
// rest. Free functions.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace onecopy::text {

// tokenizer.model of sentencepiece, kind BPE. Source: google/sentencepiece, sentencepiece_model.proto.
// Errors: kBadInput where it is malformed, of another kind, or normalises texts.
nlohmann::json MetadataOfSentencePiece(std::string_view bytes);

// tiktoken.model of Kimi: a line a token, its bytes in base64 and its rank, which is its id and orders the merges. Special
// tokens are those of tokenizer_config.json. Source: openai/tiktoken (load_tiktoken_bpe), Kimi-K2 tokenization_kimi.py.
// Errors: kBadInput where it is malformed, or the configuration is not Kimi's.
nlohmann::json MetadataOfTiktoken(std::string_view bytes, const nlohmann::json& tokenizer_config);

// Adds what tokenizer_config.json and generation_config.json (each may be null) say beyond a vocabulary: special tokens,
// ends, chat templates. Errors: kBadInput.
void AddConfigs(const nlohmann::json& tokenizer_config, const nlohmann::json& generation_config,
                nlohmann::json* metadata);

}  // namespace onecopy::text
