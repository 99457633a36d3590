#include "runtime/text/answer_reader.h"

#include <gtest/gtest.h>

#include "tests/unit/text/test_metadata.h"

namespace onecopy::text {
namespace {

// Pushes the tokens of `text`; returns what is said and, in brackets, what is thought, piece by piece.
std::string Read(const Tokenizer& tokenizer, AnswerReader& reader, const std::string& text) {
  std::string out;
  const auto show = [&](const AnswerReader::Piece& piece) {
    if (!piece.text.empty()) out += piece.thought ? "[" + piece.text + "]" : piece.text;
  };
  for (const int32_t id : tokenizer.Encode(text, {.add_special = false})) show(reader.Push(id));
  show(reader.Flush());
  return out;
}

TEST(AnswerReader, LeavesOtherFormatsAsTheyAre) {
  const Tokenizer tokenizer = Tokenizer::FromGguf(ByteLevelMetadata({}, {"<|im_end|>"}));
  AnswerReader reader(tokenizer);
  EXPECT_EQ(Read(tokenizer, reader, "<think>é</think>4<|im_end|>"), "<think>é</think>4");
  EXPECT_EQ(reader.Message(),
            (nlohmann::ordered_json{{"role", "assistant"}, {"content", "<think>é</think>4"}}));
}

TEST(AnswerReader, TellsThoughtsFromWhatIsSaidInHarmony) {
  const Tokenizer tokenizer = Tokenizer::FromGguf(ByteLevelMetadata(
      {}, {"<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>", "<|constrain|>"}));
  AnswerReader reader(tokenizer);
  EXPECT_EQ(Read(tokenizer, reader,
                 "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>4é"),
            "[H][m][.]4é");
  EXPECT_EQ(reader.Message(),
            (nlohmann::ordered_json{{"role", "assistant"}, {"content", "4é"}, {"thinking", "Hm."}}));
}

TEST(AnswerReader, SurvivesHarmonyThatIsMalformed) {
  const Tokenizer tokenizer =
      Tokenizer::FromGguf(ByteLevelMetadata({}, {"<|start|>", "<|channel|>", "<|message|>", "<|end|>"}));
  for (const char* text :
       {"<|message|><|message|>a", "<|channel|><|channel|>x<|end|>", "no header", "<|end|><|end|>",
        "<|channel|>final<|message|>a<|channel|>analysis<|message|>b<|start|>"}) {
    AnswerReader reader(tokenizer);
    Read(tokenizer, reader, text);
    EXPECT_EQ(reader.Message()["role"], "assistant");
  }
  AnswerReader reader(tokenizer);
  Read(tokenizer, reader, "<|message|>a<|channel|>analysis<|message|>b");
  EXPECT_EQ(reader.Message()["content"], "a");
  EXPECT_EQ(reader.Message()["thinking"], "b");
}

}  // namespace
}  // namespace onecopy::text
