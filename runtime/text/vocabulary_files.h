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

// tokenizer.json of a byte-level BPE, whose pre-tokenizer is one of those that GGUF files name: found by what it makes of a
// text with all that they differ in. Special tokens, ends and chat templates are there too. vocab_size: rows of the
// embedding, above all ids. Errors: kBadInput, also for what GGUF's keys cannot say.
nlohmann::json MetadataOfTokenizerJson(const nlohmann::json& tokenizer_json,
                                       const nlohmann::json& tokenizer_config,
                                       const nlohmann::json& generation_config, const nlohmann::json& config,
                                       uint32_t vocab_size);

// Adds what tokenizer_config.json and generation_config.json (each may be null) say beyond a vocabulary: special tokens,
// ends, chat templates. Errors: kBadInput.
void AddConfigs(const nlohmann::json& tokenizer_config, const nlohmann::json& generation_config,
                nlohmann::json* metadata);

// Gives every id below vocab_size a token, as llama.cpp wants it: those that have none are called "[PAD7]" and unused.
void AddUnusedTokens(uint32_t vocab_size, nlohmann::json* metadata);

}  // namespace onecopy::text
