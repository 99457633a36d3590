#include "runtime/text/utf8.h"

#include <gtest/gtest.h>

#include "runtime/text/normalizer.h"

namespace onecopy::text {
namespace {

// Oracle: Python 3.11, bytes.decode(errors="replace"), which follows the Unicode Standard's recommendation.
TEST(Utf8, ReplacesMaximalSubpartsAsPythonDoes) {
  const std::pair<std::string, std::string> cases[] = {
      {"", ""},
      {"plain é中🦙", "plain é中🦙"},
      {"\x80", "\uFFFD"},
      {"\xC0\xAF", "\uFFFD\uFFFD"},                      // overlong
      {"\xE0\x80\xAF", "\uFFFD\uFFFD\uFFFD"},            // overlong
      {"\xED\xA0\x80", "\uFFFD\uFFFD\uFFFD"},            // surrogate
      {"\xF4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},  // above U+10FFFF
      {"\xF5", "\uFFFD"},
      {"\xE4\xB8", "\uFFFD"},  // cut short
      {"\xF0\x9F\xA6", "\uFFFD"},
      {"\xE4\xB8"
       "a",
       "\uFFFD"
       "a"},
      {"\xF0\x9F"
       "\xE4\xB8\xAD",
       "\uFFFD中"},
      {"\xFF\xFE", "\uFFFD\uFFFD"},
  };
  for (const auto& [bytes, text] : cases) EXPECT_EQ(ReplaceInvalidUtf8(bytes), text);
}

TEST(Utf8, IncompleteTailIsTheUnfinishedCharacterOnly) {
  const std::pair<std::string, size_t> cases[] = {{"", 0},
                                                  {"a", 0},
                                                  {"é", 0},
                                                  {"a\xC3", 1},
                                                  {"\xE4", 1},
                                                  {"\xE4\xB8", 2},
                                                  {"中\xE4", 1},
                                                  {"\xF0\x9F\xA6", 3},
                                                  {"🦙", 0},
                                                  {"\x80", 0},
                                                  {"\xE0\x80", 0},
                                                  {"\xC3"
                                                   "a",
                                                   0},
                                                  {"\xF0\x9F\xFF", 0}};
  for (const auto& [bytes, tail] : cases) EXPECT_EQ(IncompleteTailBytes(bytes), tail) << bytes;
}

TEST(Utf8, EveryCodePointSurvivesItsEncoding) {
  for (char32_t code = 0; code <= 0x10FFFF; ++code) {
    if (code >= 0xD800 && code < 0xE000) continue;
    std::string bytes;
    if (code < 0x80) {
      bytes = {static_cast<char>(code)};
    } else if (code < 0x800) {
      bytes = {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 63))};
    } else if (code < 0x10000) {
      bytes = {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 63)),
               static_cast<char>(0x80 | (code & 63))};
    } else {
      bytes = {static_cast<char>(0xF0 | code >> 18), static_cast<char>(0x80 | (code >> 12 & 63)),
               static_cast<char>(0x80 | (code >> 6 & 63)), static_cast<char>(0x80 | (code & 63))};
    }
    const Utf8Char c = DecodeUtf8(bytes);
    ASSERT_EQ(c.state, Utf8State::kValid) << static_cast<uint32_t>(code);
    ASSERT_EQ(static_cast<uint32_t>(c.code), static_cast<uint32_t>(code));
    ASSERT_EQ(c.bytes, bytes.size());
  }
}

// Rows of the Unicode Character Database's NormalizationTest.txt.
TEST(Normalizer, MakesTheNormalFormsOfUnicode) {
  using Kind = NormalizerStep::Kind;
  const auto form = [](Kind kind, std::string_view text) { return Normalize({{kind, {}, {}}}, text); };
  EXPECT_EQ(form(Kind::kNfc, "D\u0307\u0323"), "\u1E0C\u0307");
  EXPECT_EQ(form(Kind::kNfd, "\u1E0A\u0323"), "D\u0323\u0307");
  EXPECT_EQ(form(Kind::kNfc, "\u212B"), "\u00C5");
  EXPECT_EQ(form(Kind::kNfkc, "\uFB01\u00B2"), "fi2");
  EXPECT_EQ(form(Kind::kNfkd, "\uAC00"), "\u1100\u1161");
  EXPECT_EQ(form(Kind::kNfc, std::string("a\0\u0065\u0301", 5)), std::string("a\0\u00e9", 4));
}

}  // namespace
}  // namespace onecopy::text
