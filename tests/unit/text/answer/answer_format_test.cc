// The format follows from a chat template and a vocabulary.
#include "runtime/text/answer/answer_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "tests/unit/text/answer/answer_test_support.h"

namespace onecopy::text {
namespace {

using nlohmann::ordered_json;

std::string PublishedTemplate(const std::string& name) {
  std::ifstream file(std::string(ONECOPY_TEST_CHAT) + "/" + name + ".jinja", std::ios::binary);
  EXPECT_TRUE(file) << name;
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(AnswerFormat, IsKnownByEveryPublishedTemplate) {
  struct Row {
    const char* name;
    const char* format;
    const char* thought;
  };
  constexpr Row kRows[] = {{"ByteDance-Seed-OSS", "seed-xml", "<seed:think>"},
                           {"GLM-4.6", "glm", "<think>"},
                           {"GLM-4.7-Flash", "glm", "<think>"},
                           {"HuggingFaceTB-SmolLM3-3B", "plain", "<think>"},
                           {"Kimi-K2-Instruct", "kimi", ""},
                           {"Kimi-K2-Thinking", "kimi", "<think>"},
                           {"MiniMax-M2", "minimax", "<think>"},
                           {"Mistral-Small-3.2-24B-Instruct-2506", "mistral", ""},
                           {"Qwen-QwQ-32B", "hermes", "<think>"},
                           {"Qwen-Qwen2.5-7B-Instruct", "hermes", ""},
                           {"Qwen-Qwen3-0.6B", "hermes", "<think>"},
                           {"Qwen3-Coder", "qwen-xml", ""},
                           {"Qwen3.5-4B", "qwen-xml", "<think>"},
                           {"StepFun3.5-Flash", "qwen-xml", "<think>"},
                           {"allenai-OLMo-7B-Instruct", "plain", ""},
                           {"deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", "deepseek", "<think>"},
                           {"deepseek-ai-DeepSeek-V2", "plain", ""},
                           {"deepseek-ai-DeepSeek-V3.1", "deepseek", "<think>"},
                           {"deepseek-ai-DeepSeek-V3.2", "dsml", "<think>"},
                           {"ibm-granite-granite-3.3-2B-Instruct", "granite", "<think>"},
                           {"ibm-granite-granite-4.0", "hermes", ""},
                           {"meta-llama-Llama-2-chat", "plain", ""},
                           {"microsoft-Phi-3.5-mini-instruct", "plain", ""},
                           {"mistralai-Mistral-Nemo-Instruct-2407", "mistral", ""},
                           {"mistralai-Mixtral-8x7B-Instruct-v0.1", "plain", ""},
                           {"moonshotai-Kimi-K2", "kimi", ""},
                           {"openai-gpt-oss-120b", "harmony", ""}};
  for (const Row& row : kRows) {
    const AnswerFormat format = ChooseAnswerFormat(PublishedTemplate(row.name), TokenizerWithMarks({}, 3));
    EXPECT_EQ(AnswerFormatName(format.calls), row.format) << row.name;
    EXPECT_EQ(format.thought_open, row.thought) << row.name;
    EXPECT_EQ(format.said_open, row.format == std::string("granite") ? "<response>" : "") << row.name;
  }
  const auto choose = [](const char* name) {
    return ChooseAnswerFormat(PublishedTemplate(name), TokenizerWithMarks({}, 3));
  };
  EXPECT_TRUE(choose("deepseek-ai-DeepSeek-R1-Distill-Qwen-32B").fenced_arguments);
  EXPECT_FALSE(choose("deepseek-ai-DeepSeek-V3.1").fenced_arguments);
  EXPECT_TRUE(choose("Mistral-Small-3.2-24B-Instruct-2506").named_arguments);
  EXPECT_FALSE(choose("mistralai-Mistral-Nemo-Instruct-2407").named_arguments);
  EXPECT_TRUE(choose("ByteDance-Seed-OSS").verbatim_values);
  EXPECT_FALSE(choose("Qwen3-Coder").verbatim_values);
}

// Phrases of templates that do not stand here, for their licence.
TEST(AnswerFormat, IsKnownByPhrasesOfOtherTemplates) {
  const Tokenizer none = TokenizerWithMarks({}, 3);
  for (const char* phrase :
       {"x <|python_tag|> y", "x <|python_start|> y",
        "{\"name\": function name, \"parameters\": dictionary of argument name and its value}"})
    EXPECT_EQ(ChooseAnswerFormat(phrase, none).calls, CallSyntaxKind::kLlama) << phrase;
  const AnswerFormat mimo = ChooseAnswerFormat(
      "<tool_call>\n<function=example_function_name>\n<parameter=example_parameter_1>value_1</parameter>",
      none);
  EXPECT_EQ(mimo.calls, CallSyntaxKind::kQwenXml);
  EXPECT_TRUE(mimo.verbatim_values);
  EXPECT_EQ(ChooseAnswerFormat("", none).calls, CallSyntaxKind::kNone);
}

TEST(AnswerFormat, IsAlsoKnownByTheVocabulary) {
  const std::vector<std::string_view> harmony = HarmonyReader::Marks();
  EXPECT_EQ(ChooseAnswerFormat("", TokenizerWithMarks(harmony, 3)).calls, CallSyntaxKind::kHarmony);
  const AnswerFormat format =
      ChooseAnswerFormat("", TokenizerWithMarks({"<think>", "</think>", "<response>", "</response>"}, 4));
  EXPECT_EQ(format.thought_open, "<think>");
  EXPECT_EQ(format.thought_close, "</think>");
  EXPECT_EQ(format.said_close, "</response>");
}

TEST(AnswerFormat, IsKnownByName) {
  for (const std::string_view name : AnswerFormatNames())
    EXPECT_EQ(AnswerFormatName(AnswerFormatNamed(name).calls), name);
  EXPECT_GE(AnswerFormatNames().size(), 13u);
  EXPECT_THAT(MessageOf(ErrorCode::kUsage, [] { AnswerFormatNamed("x\n"); }), testing::HasSubstr("hermes"));
}

// Of real prompts, whether the mark is text or a token.
TEST(EndsInThought, SaysWhetherThePromptOpensOne) {
  std::ifstream file(ONECOPY_TEST_CHAT "/expected.json");
  const ordered_json golden = ordered_json::parse(file);
  const std::vector<std::string> open_when_on = {"GLM-4.7-Flash",
                                                 "MiniMax-M2",
                                                 "Qwen3.5-4B",
                                                 "StepFun3.5-Flash",
                                                 "Qwen-QwQ-32B",
                                                 "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
                                                 "deepseek-ai-DeepSeek-V3.1",
                                                 "deepseek-ai-DeepSeek-V3.2"};
  const std::vector<std::string> open_when_off = {"MiniMax-M2", "StepFun3.5-Flash"};
  for (const auto& [name, texts] : golden["texts"].items()) {
    const AnswerFormat format = ChooseAnswerFormat(PublishedTemplate(name), TokenizerWithMarks({}, 3));
    for (const int type : {1, 3, 4}) {
      const Tokenizer tokenizer = TokenizerWithMarks(MarksOf(format), type);
      const auto opens = [&, &texts = texts](const char* case_name) {
        return EndsInThought(format, tokenizer, EncodeChat(tokenizer, texts[case_name].get<std::string>()));
      };
      EXPECT_EQ(opens("thinking on"), testing::Value(open_when_on, testing::Contains(name))) << name;
      EXPECT_EQ(opens("thinking off"), testing::Value(open_when_off, testing::Contains(name))) << name;
    }
  }
  EXPECT_FALSE(EndsInThought(AnswerFormatNamed("hermes"), TokenizerWithMarks({}, 3), {}));
}

}  // namespace
}  // namespace onecopy::text
