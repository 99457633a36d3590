// An answer that begins as it was forced to is read as a call, in every format.
#include "runtime/text/answer/forced_call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "tests/unit/text/answer/answer_test_support.h"

namespace onecopy::text {
namespace {

using nlohmann::ordered_json;

const ordered_json kForcedTools = ordered_json::parse(
    R"([{"type": "function", "function": {"name": "get_weather", "parameters": {"properties": {"place": {"type": "string"}}}}},
        {"type": "function", "function": {"name": "clock"}}])");

// The parser begins after the prompt: the prefix and what the model adds both go through it.
std::string ReadForced(const AnswerFormat& format, const std::string& text, bool in_thought, int type) {
  const Tokenizer tokenizer = TokenizerWithMarks(MarksOf(format), type);
  AnswerParser parser(tokenizer, format, {kForcedTools, in_thought, 1});
  return Shown(PushAll(parser, EncodeChat(tokenizer, text)));
}

std::vector<AnswerFormat> Formats() {
  std::vector<AnswerFormat> formats;
  for (const std::string_view name : AnswerFormatNames()) {
    formats.push_back(AnswerFormatNamed(name));
    formats.push_back(formats.back());
    formats.back().fenced_arguments = formats.back().named_arguments = true;
  }
  return formats;
}

TEST(ForceCall, OfAFunctionByNameIsReadAsItsCall) {
  const ToolSet tools(kForcedTools);
  size_t forms = 0;
  for (const AnswerFormat& format : Formats())
    for (const bool in_thought : {false, true})
      for (const int type : {1, 3, 4}) {
        if (in_thought && format.thought_open.empty()) continue;
        const auto forced = ForceCall(format, tools, "clock", in_thought);
        if (format.calls == CallSyntaxKind::kNone) {
          EXPECT_FALSE(forced);
          continue;
        }
        ASSERT_TRUE(forced);
        EXPECT_TRUE(forced->choices.empty());
        const std::string arguments = forced->json_arguments ? "{\"a\": 1}" : "";
        EXPECT_EQ(ReadForced(format, forced->prefix + arguments + forced->end, in_thought, type),
                  forced->json_arguments ? "{clock}({\"a\": 1})" : "{clock}({})")
            << AnswerFormatName(format.calls);
        ++forms;
      }
  EXPECT_GT(forms, 100u);
}

TEST(ForceCall, OfAnyFunctionLeavesTheChoice) {
  const ToolSet tools(kForcedTools);
  for (const AnswerFormat& format : Formats()) {
    const auto forced = ForceCall(format, tools, "", false);
    if (!forced) continue;
    ASSERT_EQ(forced->choices.size(), 2u);
    for (const ForcedCall::Choice& choice : forced->choices)
      EXPECT_EQ(ReadForced(format,
                           forced->prefix + choice.text + (forced->json_arguments ? "{}" : "") + forced->end,
                           false, 3),
                "{" + choice.function + "}({})");
    // One tool is no choice.
    const auto only = ForceCall(format, ToolSet(ordered_json::array({kForcedTools[1]})), "", false);
    EXPECT_TRUE(only->choices.empty());
    EXPECT_NE(only->prefix.find("clock"), std::string::npos);
  }
}

// What the published templates write as a call begins as the forced one does, but for white space and, in JSON, nothing else.
TEST(ForceCall, BeginsAsPublishedTemplatesDo) {
  std::ifstream file(ONECOPY_TEST_DATA "/goldens/answers.json");
  const ordered_json golden = ordered_json::parse(file);
  const ToolSet tools(golden["tools"]);
  size_t checked = 0;
  for (const auto& [name, texts] : golden["answers"].items()) {
    if (!texts.contains("call")) continue;
    std::ifstream source(std::string(ONECOPY_TEST_CHAT) + "/" + name + ".jinja");
    const std::string chat_template{std::istreambuf_iterator<char>(source), {}};
    const AnswerFormat format = ChooseAnswerFormat(chat_template, TokenizerWithMarks({}, 3));
    const std::string text = texts["call"]["text"];
    const auto forced = ForceCall(format, tools, "get_weather", false);
    ASSERT_TRUE(forced) << name;
    // Mistral's small models write an id, and gpt-oss names the recipient before the channel: both may be left to the model's
    // other form, which its vendor documents too.
    const bool other =
        format.named_arguments || format.calls == CallSyntaxKind::kHarmony || name == "GLM-4.7-Flash";
    if (other) continue;
    EXPECT_NE(text.find(forced->prefix), std::string::npos) << name << ": " << text;
    EXPECT_NE(text.find(forced->end), std::string::npos) << name << ": " << text;
    ++checked;
  }
  EXPECT_GE(checked, 15u);
}

TEST(ForceCall, RefusesWhatIsNotThere) {
  const AnswerFormat format = AnswerFormatNamed("hermes");
  EXPECT_THAT(MessageOf(ErrorCode::kUsage, [&] { ForceCall(format, ToolSet(kForcedTools), "h", false); }),
              testing::HasSubstr("h,"));
  EXPECT_THAT(MessageOf(ErrorCode::kUsage, [&] { ForceCall(format, ToolSet(), "", false); }),
              testing::HasSubstr("no tools"));
}

TEST(ToolSet, RefusesWhatIsNoTool) {
  const auto message = [](const ordered_json& tools) {
    return MessageOf(ErrorCode::kUsage, [&] { ToolSet set(tools); });
  };
  EXPECT_THAT(message("x"), testing::HasSubstr("array"));
  EXPECT_THAT(message({{{"type", "web_search"}}}), testing::HasSubstr("tools[0] is of type \"web_search\""));
  EXPECT_THAT(message({{{"type", "function"}, {"function", {{"name", "a b"}}}}}), testing::HasSubstr("name"));
  EXPECT_THAT(message({{{"name", "a"}}, {{"name", "a"}}}), testing::HasSubstr("already"));
  EXPECT_THAT(message({7}), testing::HasSubstr("tools[0]"));
  EXPECT_THAT(message(std::vector<ordered_json>(2000, {{"name", "a"}})), testing::HasSubstr("2000"));
}

// Schemas that refer to themselves end.
TEST(ToolSet, ReadsTypesOfHostileSchemas) {
  const ToolSet tools(ordered_json::parse(R"([{"name": "f", "parameters": {
    "properties": {"loop": {"$ref": "#/properties/loop"}, "wide": {"anyOf": [{"$ref": "#/properties/wide"},
      {"$ref": "#/properties/wide"}, {"type": "integer"}]}, "bad": {"$ref": "#/~2"}, "index": {"$ref": "#/list/-"},
      "text": {"$ref": "#/$defs/text"}, "number": {"const": 5}},
    "list": [1], "$defs": {"text": {"oneOf": [{"type": "string"}]}}}}])"));
  EXPECT_EQ(tools.Value("f", "loop", "1"), 1);
  EXPECT_EQ(tools.Value("f", "wide", "1"), 1);
  EXPECT_EQ(tools.Value("f", "bad", "x"), "x");
  EXPECT_EQ(tools.Value("f", "index", "[1]"), ordered_json({1}));
  EXPECT_EQ(tools.Value("f", "text", "1"), "1");
  EXPECT_EQ(tools.Value("f", "number", "6"), 6);
  EXPECT_EQ(tools.Value("g", "x", "\"quoted\""), "\"quoted\"");
}

}  // namespace
}  // namespace onecopy::text
