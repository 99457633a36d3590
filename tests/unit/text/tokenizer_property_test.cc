// What holds for every text: it comes back from its tokens, and takes time in proportion to its length.
#include <gtest/gtest.h>

#include <random>

#include "runtime/model/checkpoint.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/utf8.h"
#include "tests/support/processor_time.h"

namespace onecopy::text {
namespace {

Tokenizer Vocabulary(const std::string& name) {
  return Tokenizer::FromGguf(
      OpenCheckpoint(ONECOPY_TEST_TOKENIZERS "/ggml-vocab-" + name + ".gguf").metadata);
}

void Append(std::string* text, uint32_t code) {
  if (code < 0x80) {
    *text += static_cast<char>(code);
  } else if (code < 0x800) {
    *text += {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
  } else if (code < 0x10000) {
    *text += {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 0x3F)),
              static_cast<char>(0x80 | (code & 0x3F))};
  } else {
    *text += {static_cast<char>(0xF0 | code >> 18), static_cast<char>(0x80 | (code >> 12 & 0x3F)),
              static_cast<char>(0x80 | (code >> 6 & 0x3F)), static_cast<char>(0x80 | (code & 0x3F))};
  }
}

// Characters of every plane; half of them of the first 0x300, where scripts mix most often.
std::string RandomText(std::mt19937& random) {
  std::string text;
  for (uint32_t n = random() % 60; n > 0; --n) {
    const uint32_t code = random() % 2 ? random() % 0x300 : random() % 0x110000;
    Append(&text, code >= 0xD800 && code < 0xE000 ? 0x20 : code);
  }
  return text;
}

TEST(TokenizerProperty, EveryTextComesBack) {
  for (const char* name : {"gpt-2", "llama-bpe"}) {
    const Tokenizer tokenizer = Vocabulary(name);
    std::mt19937 random(7);
    for (int i = 0; i < 500; ++i) {
      const std::string text = RandomText(random);
      const std::vector<int32_t> ids = tokenizer.Encode(text, {.add_special = false, .parse_special = false});
      ASSERT_EQ(tokenizer.Decode(ids, false), text) << name << ", text " << i;
    }
  }
}

TEST(TokenizerProperty, NormalisedTextStaysAsItIs) {
  const Tokenizer tokenizer = Vocabulary("qwen2");  // brings texts to normal form C
  std::mt19937 random(8);
  for (int i = 0; i < 500; ++i) {
    const std::vector<int32_t> ids =
        tokenizer.Encode(RandomText(random), {.add_special = false, .parse_special = false});
    const std::string text = tokenizer.Decode(ids, false);
    ASSERT_EQ(tokenizer.Decode(tokenizer.Encode(text, {.add_special = false, .parse_special = false}), false),
              text)
        << "text " << i;
  }
}

// What regular expressions and merges are slowest with. Quadratic time would be minutes.
TEST(TokenizerProperty, LongTextsTakeSeconds) {
  constexpr size_t kBytes = 1 << 19;
  const std::string letters = "abcdefghijklmnopqrstuvwxyz";
  std::string mixed;
  std::mt19937 random(9);
  while (mixed.size() < kBytes) mixed += letters[random() % letters.size()];
  for (const char* name : {"gpt-2", "llama-bpe"}) {
    const Tokenizer tokenizer = Vocabulary(name);
    for (const std::string& text : {std::string(kBytes, 'a'), std::string(kBytes, ' '), mixed}) {
      const double seconds = test::ThreadSeconds(
          [&] { EXPECT_EQ(tokenizer.Decode(tokenizer.Encode(text, {.add_special = false}), false), text); });
      EXPECT_LT(seconds, 30) << name << ": " << text.substr(0, 5);
    }
  }
}

}  // namespace
}  // namespace onecopy::text
