// Small tokenizers for tests, as the JSON of a GGUF file; and the error that a call throws.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/text/byte_alphabet.h"

namespace onecopy::text {

inline nlohmann::json ReadJsonFile(const std::string& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << path;
  return nlohmann::json::parse(file);
}

// A byte-level vocabulary: ids 0-255 are the bytes, then the merges' results, then `control`.
inline nlohmann::json ByteLevelMetadata(const std::vector<std::string>& merges,
                                        const std::vector<std::string>& control) {
  nlohmann::json tokens, types;
  const auto add = [&](const std::string& token, int type) {
    tokens.push_back(token);
    types.push_back(type);
  };
  for (int byte = 0; byte < 256; ++byte) add(std::string(ByteToAlphabet(static_cast<uint8_t>(byte))), 1);
  for (const std::string& merge : merges) {
    const size_t space = merge.find(' ', 1);
    add(merge.substr(0, space) + merge.substr(space + 1), 1);
  }
  for (const std::string& token : control) add(token, 3);
  return {{"tokenizer.ggml.model", "gpt2"},
          {"tokenizer.ggml.pre", "gpt-2"},
          {"tokenizer.ggml.tokens", tokens},
          {"tokenizer.ggml.token_type", types},
          {"tokenizer.ggml.merges", merges}};
}

// The message of the Error that `call` throws, with the code checked; fails the test when it throws none.
inline std::string MessageOf(ErrorCode code, const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code) << e.what();
    return e.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return "";
}

}  // namespace onecopy::text
