// The two streams: tokens to text, and text to a stop string.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/text/detokenizer.h"
#include "runtime/text/pcg32.h"
#include "runtime/text/stop_strings.h"
#include "runtime/text/utf8.h"
#include "tests/unit/text/test_metadata.h"

namespace onecopy::text {
namespace {

using testing::HasSubstr;

Tokenizer ByteTokenizer() {
  return Tokenizer::FromGguf(ByteLevelMetadata({"a b"}, {"<|im_end|>"}));
}

TEST(Detokenizer, NeverShowsHalfACharacter) {
  Detokenizer stream(ByteTokenizer(), {});
  EXPECT_EQ(stream.Push('x'), "x");
  EXPECT_EQ(stream.Push(0xF0), "");
  EXPECT_EQ(stream.Push(0x9F), "");
  EXPECT_EQ(stream.Push(0xA6), "");
  EXPECT_EQ(stream.Push(0x99), "🦙");
  EXPECT_EQ(stream.Push(256), "ab");
  EXPECT_EQ(stream.Flush(), "");
}

TEST(Detokenizer, ShowsWrongBytesAsSoonAsTheyAreCertain) {
  Detokenizer stream(ByteTokenizer(), {});
  EXPECT_EQ(stream.Push(0xE4), "");
  EXPECT_EQ(stream.Push('a'),
            "\uFFFD"
            "a");
  EXPECT_EQ(stream.Push(0xFF), "\uFFFD");
  EXPECT_EQ(stream.Push(0xE4), "");
  EXPECT_EQ(stream.Flush(), "\uFFFD");
  EXPECT_EQ(stream.Flush(), "");
}

TEST(Detokenizer, SkipsSpecialTokensUnlessAsked) {
  EXPECT_EQ(Detokenizer(ByteTokenizer(), {}).Push(257), "");
  EXPECT_EQ(Detokenizer(ByteTokenizer(), {.skip_special = false}).Push(257), "<|im_end|>");
  EXPECT_EQ(Detokenizer(ByteTokenizer(), {}).Push(99999), "");  // the model's padding columns
}

TEST(Detokenizer, StreamedTextIsTheDecodedText) {
  const Tokenizer tokenizer = ByteTokenizer();
  Pcg32 random(3, 3);
  for (int round = 0; round < 300; ++round) {
    std::vector<int32_t> ids(random.Next() % 20);
    // Half of them from the bytes of a four-byte character, so that whole ones come about.
    for (int32_t& id : ids)
      id = static_cast<int32_t>(random.Next() % 2 ? random.Next() % 258
                                                  : "\xF0\x9F\xA6\x99"[random.Next() % 4] & 0xFF);
    Detokenizer stream(tokenizer, {});
    std::string text;
    for (const int32_t id : ids) {
      const std::string piece = stream.Push(id);
      ASSERT_EQ(ReplaceInvalidUtf8(piece), piece);
      text += piece;
    }
    ASSERT_EQ(text + stream.Flush(), tokenizer.Decode(ids, /*skip_special=*/true));
  }
}

TEST(Detokenizer, StripsTheFirstSpaceOfAWholeTextOnly) {
  const nlohmann::json metadata = {{"tokenizer.ggml.model", "llama"},
                                   {"tokenizer.ggml.tokens", {"<unk>", "▁a", "b"}},
                                   {"tokenizer.ggml.token_type", {2, 1, 1}},
                                   {"tokenizer.ggml.scores", {0, 0, 0}}};
  const Tokenizer tokenizer = Tokenizer::FromGguf(metadata);
  Detokenizer whole(tokenizer, {.at_text_start = true}), continued(tokenizer, {});
  EXPECT_EQ(whole.Push(1), "a");
  EXPECT_EQ(whole.Push(1), " a");
  EXPECT_EQ(continued.Push(1), " a");
}

TEST(StopStrings, EndsTheTextBeforeTheStop) {
  StopMatcher stop({"END", "###"});
  EXPECT_EQ(stop.Push("one "), "one ");
  EXPECT_EQ(stop.Push("E"), "");
  EXPECT_EQ(stop.Push("N"), "");
  EXPECT_EQ(stop.Push("T ##"), "ENT ");
  EXPECT_EQ(stop.Push("# more"), "");
  EXPECT_TRUE(stop.stopped());
  EXPECT_EQ(stop.matched(), "###");
  EXPECT_EQ(stop.Push("more"), "");
  EXPECT_EQ(stop.Flush(), "");
}

TEST(StopStrings, FlushGivesWhatWasHeldBack) {
  StopMatcher stop({"END"});
  EXPECT_EQ(stop.Push("the EN"), "the ");
  EXPECT_EQ(stop.Flush(), "EN");
  EXPECT_FALSE(stop.stopped());
}

TEST(StopStrings, WithoutStopsEverythingPasses) {
  StopMatcher stop({});
  EXPECT_EQ(stop.Push("anything"), "anything");
}

TEST(StopStrings, RefusesEmptyAndMalformedStrings) {
  EXPECT_THAT(MessageOf(ErrorCode::kUsage, [] { StopMatcher({"a", ""}); }), HasSubstr("empty"));
  EXPECT_THAT(MessageOf(ErrorCode::kUsage, [] { StopMatcher({"\x80"}); }), HasSubstr("UTF-8"));
}

// The rule, on the whole text: the occurrence that ends first, of those the longest.
std::string Expected(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& stop : stops) {
      if (std::string_view(text).substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
    }
    if (longest > 0) return text.substr(0, end - longest);
  }
  return text;
}

TEST(StopStrings, OutcomeDoesNotDependOnHowTheTextIsCut) {
  Pcg32 random(5, 5);
  const std::string letters[] = {"a", "b", "é", "中"};
  const auto word = [&](size_t length) {
    std::string out;
    for (size_t i = 0; i < length; ++i) out += letters[random.Next() % 4];
    return out;
  };
  int stopped = 0;
  for (int round = 0; round < 3000; ++round) {
    const std::vector<std::string> stops = {word(1 + random.Next() % 4), word(2 + random.Next() % 4)};
    StopMatcher matcher(stops);
    std::string text, shown;
    for (size_t n = random.Next() % 8; n > 0; --n) {
      const std::string piece = word(random.Next() % 4);
      text += piece;
      const std::string out = matcher.Push(piece);
      ASSERT_EQ(ReplaceInvalidUtf8(out), out);
      shown += out;
    }
    shown += matcher.Flush();
    ASSERT_EQ(shown, Expected(text, stops)) << text << " / " << stops[0] << " / " << stops[1];
    stopped += matcher.stopped();
  }
  EXPECT_GT(stopped, 500);
  EXPECT_LT(stopped, 2900);
}

}  // namespace
}  // namespace onecopy::text
