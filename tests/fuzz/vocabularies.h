// Small vocabularies for targets that need some tokenizer.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "runtime/text/byte_alphabet.h"

namespace onecopy::fuzz {

// Byte-level: ids 0-255 are the bytes, then what the merges make, then `control` as control tokens.
inline nlohmann::json ByteLevelMetadata(std::string_view pre_tokenizer,
                                        const std::vector<std::string_view>& merges,
                                        const std::vector<std::string_view>& control) {
  nlohmann::json tokens, types;
  const auto add = [&](std::string_view token, int type) {
    tokens.push_back(token);
    types.push_back(type);
  };
  for (int byte = 0; byte < 256; ++byte) add(text::ByteToAlphabet(static_cast<uint8_t>(byte)), 1);
  for (const std::string_view merge : merges) {
    const size_t space = merge.find(' ', 1);
    add(std::string(merge.substr(0, space)) + std::string(merge.substr(space + 1)), 1);
  }
  for (const std::string_view token : control) add(token, 3);
  return {{"tokenizer.ggml.model", "gpt2"},
          {"tokenizer.ggml.pre", pre_tokenizer},
          {"tokenizer.ggml.tokens", tokens},
          {"tokenizer.ggml.token_type", types},
          {"tokenizer.ggml.merges", merges}};
}

// As sentencepiece has it: bytes, single characters, and pieces that merge by their scores.
inline nlohmann::json SentencePieceMetadata() {
  nlohmann::json tokens = {"<unk>", "<s>", "</s>"}, types = {2, 3, 3}, scores = {0.0, 0.0, 0.0};
  const auto add = [&](const std::string& token, int type, double score) {
    tokens.push_back(token);
    types.push_back(type);
    scores.push_back(score);
  };
  constexpr char kHex[] = "0123456789ABCDEF";
  for (int byte = 0; byte < 256; ++byte)
    add(std::string("<0x") + kHex[byte / 16] + kHex[byte % 16] + ">", 6, 0);
  double score = 0;
  for (const char* piece :
       {"\u2581",       "a",    "b",       "c",  "e",  "h",   "l",   "o",     "t",         "é",
        "\u2581\u2581", "ab",   "th",      "he", "ll", "the", "llo", "hello", "\u2581the", "\u2581hello",
        "aa",           "aaaa", "aaaaaaaa"})
    add(piece, 1, score -= 1);
  return {{"tokenizer.ggml.model", "llama"},  {"tokenizer.ggml.tokens", tokens},
          {"tokenizer.ggml.scores", scores},  {"tokenizer.ggml.token_type", types},
          {"tokenizer.ggml.bos_token_id", 1}, {"tokenizer.ggml.eos_token_id", 2}};
}

}  // namespace onecopy::fuzz
