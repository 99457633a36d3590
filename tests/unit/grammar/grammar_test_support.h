// Vocabularies and texts for tests of grammars.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/grammar/matcher.h"
#include "runtime/model/checkpoint.h"
#include "runtime/text/tokenizer.h"

namespace onecopy::grammar {

// A token a byte, and one that ends generation: id 256.
inline std::shared_ptr<const TokenTable> ByteTable() {
  static const auto table = [] {
    std::vector<std::string> pieces;
    for (int byte = 0; byte < 256; ++byte) pieces.emplace_back(1, static_cast<char>(byte));
    pieces.emplace_back("<end>");
    return std::make_shared<const TokenTable>(std::move(pieces), std::vector<int32_t>{256});
  }();
  return table;
}

inline std::shared_ptr<const TokenTable> TableOf(const std::string& gguf) {
  return std::make_shared<const TokenTable>(text::Tokenizer::FromGguf(OpenCheckpoint(gguf).metadata));
}

// The vocabulary of the model that ships.
inline std::shared_ptr<const TokenTable> ShippedTable() {
  static const auto table = TableOf(ONECOPY_SOURCE_DIR "/models/tiny-moe-q8_0.gguf");
  return table;
}

inline bool Matches(const std::shared_ptr<const Grammar>& grammar, std::string_view text) {
  Matcher matcher(grammar, ByteTable());
  return matcher.AcceptText(text) && matcher.can_end();
}

// The message of the error that a call throws; empty: none.
template <typename Function>
std::string ErrorOf(const Function& function) {
  try {
    function();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUsage);
    return error.what();
  }
  return "";
}

}  // namespace onecopy::grammar
