// PromptLookup: a guess of the tokens to come, from the sequence itself: where the last few tokens stood before, what
// followed them there (prompt look-up decoding, Saxena 2023; llama.cpp's n-gram look-up). Constant time a token. One per
// sequence; not thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace onecopy::text {

class PromptLookup {
 public:
  // Lengths of the ends that are looked up, the longest first. One token alone says too little.
  static constexpr std::array<size_t, 3> kLengths = {4, 3, 2};

  void Push(std::span<const int32_t> tokens);
  void Push(int32_t token) { Push({&token, 1}); }

  // At most `n` tokens that may follow; fewer, or none, where the end stood nowhere before. The latest place counts; a
  // guess that reaches the end goes on with itself, as a text does that repeats.
  std::vector<int32_t> Draft(size_t n) const;

 private:
  uint64_t HashOf(size_t begin, size_t length) const;

  std::vector<int32_t> tokens_;
  // By length: hash of tokens -> where the token after their latest place stands. The end of the sequence is not in it.
  std::array<std::unordered_map<uint64_t, size_t>, kLengths.size()> next_;
};

}  // namespace onecopy::text
