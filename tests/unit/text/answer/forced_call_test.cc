// An answer that begins as it was forced to is read as a call, in every format.
#include "runtime/text/answer/forced_call.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "tests/unit/text/answer/answer_test_support.h"
#include "tests/unit/text/answer/gbnf_sampler.h"

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

// A document that a schema of calls allows, for one function, and for the second of two.
std::string SomeDocument(const ordered_json& schema) {
  if (!schema.contains("anyOf")) return "{\"a\": 1}";
  const ordered_json& properties = schema["anyOf"][1]["properties"];
  std::string out;
  for (const auto& [key, value] : properties.items())
    out += (out.empty() ? "{" : ",") + ordered_json(key).dump() + ":" +
           (value.contains("const") ? value["const"].dump() : std::string("{\"a\":1}"));
  return out + "}";
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
        EXPECT_TRUE(forced->functions.empty());
        EXPECT_NE(forced->schema.has_value(), !forced->grammar.empty());
        const std::string rest =
            forced->schema ? SomeDocument(*forced->schema) : GbnfSampler(forced->grammar, 1).Sample();
        EXPECT_EQ(ReadForced(format, forced->prefix + rest, in_thought, type),
                  forced->schema ? "{clock}({\"a\": 1})" : "{clock}({})")
            << AnswerFormatName(format.calls);
        ++forms;
      }
  EXPECT_GT(forms, 100u);
}

TEST(ForceCall, OfAnyFunctionLeavesTheChoice) {
  const ToolSet tools(kForcedTools);
  size_t schemas = 0, grammars = 0, names = 0;
  for (const AnswerFormat& format : Formats()) {
    const auto forced = ForceCall(format, tools, "", false);
    if (!forced) continue;
    if (forced->schema) {
      EXPECT_EQ(ReadForced(format, forced->prefix + SomeDocument(*forced->schema), false, 3),
                "{clock}({\"a\":1})");
      ++schemas;
    } else if (!forced->grammar.empty()) {
      EXPECT_NE(forced->grammar.find("\"get_weather"), std::string::npos);
      ++grammars;
    } else {
      EXPECT_EQ(forced->functions, (std::vector<std::string>{"get_weather", "clock"}));
      ++names;
    }
    // One tool is no choice.
    const auto only = ForceCall(format, ToolSet(ordered_json::array({kForcedTools[1]})), "", false);
    EXPECT_NE(only->prefix.find("clock"), std::string::npos);
  }
  EXPECT_GT(schemas, 6u);
  EXPECT_GT(grammars, 8u);
  EXPECT_GT(names, 6u);
}

// What the grammar allows is read as a call of one of the functions, with what is required, and values of their types.
TEST(ForceCall, GrammarOfParametersAllowsOnlyCalls) {
  const ordered_json tools = ordered_json::parse(R"([
    {"name": "f", "parameters": {"type": "object", "required": ["s", "n"], "properties": {
      "s": {"type": "string"}, "n": {"type": "integer"}, "x": {"type": "number"}, "b": {"type": "boolean"},
      "l": {"type": "array"}, "o": {"type": ["object", "null"]}, "e": {"enum": ["one", "t\"w\\o"]}, "any": {}}}},
    {"name": "get"}])");
  size_t calls = 0, optional = 0;
  for (const std::string_view name : AnswerFormatNames()) {
    AnswerFormat format = AnswerFormatNamed(name);
    if (format.calls == CallSyntaxKind::kNone) continue;
    for (const char* function : {"", "f"}) {
      const auto forced = ForceCall(format, ToolSet(tools), function, false);
      if (forced->grammar.empty()) continue;
      GbnfSampler sampler(forced->grammar, 5);
      for (int round = 0; round < 300; ++round) {
        const std::string text = forced->prefix + sampler.Sample();
        const Tokenizer tokenizer = TokenizerWithMarks({}, 3);
        AnswerParser parser(tokenizer, format, {tools, false, 1});
        PushAll(parser, EncodeChat(tokenizer, text));
        const ordered_json message = parser.Message();
        ASSERT_EQ(parser.num_calls(), 1u) << name << ": " << text;
        ASSERT_TRUE(message["content"].is_null()) << name << ": " << text;
        const ordered_json& call = message["tool_calls"][0]["function"];
        ++calls;
        if (call["name"] == "get") continue;
        ASSERT_EQ(call["name"], "f");
        const ordered_json arguments = ordered_json::parse(call["arguments"].get<std::string>());
        ASSERT_TRUE(arguments.at("s").is_string() && arguments.at("n").is_number_integer()) << text;
        const auto is = [&](const char* key, auto test) {
          return !arguments.contains(key) || test(arguments[key]);
        };
        ASSERT_TRUE(is("x", [](const ordered_json& value) { return value.is_number(); })) << text;
        ASSERT_TRUE(is("b", [](const ordered_json& value) { return value.is_boolean(); })) << text;
        ASSERT_TRUE(is("l", [](const ordered_json& value) { return value.is_array(); })) << text;
        ASSERT_TRUE(is("o", [](const ordered_json& value) { return value.is_object() || value.is_null(); }))
            << text;
        ASSERT_TRUE(is("e", [](const ordered_json& value) { return value == "one" || value == "t\"w\\o"; }))
            << text;
        optional += arguments.size() > 2;
      }
    }
  }
  EXPECT_EQ(calls, 3000u);
  EXPECT_GT(optional, 500u);
}

// References inside of a function's schema still lead there.
TEST(ForceCall, SchemaOfSeveralFunctionsKeepsReferences) {
  const ToolSet tools(ordered_json::parse(R"([{"name": "f"}, {"name": "g", "parameters": {
    "properties": {"a": {"$ref": "#/$defs/t"}, "$ref": {"const": {"$ref": "#/x"}}}, "$defs": {"t": {"type": "string"}}}}])"));
  const auto forced = ForceCall(AnswerFormatNamed("hermes"), tools, "", false);
  const ordered_json& schema = *forced->schema;
  const ordered_json& arguments = schema["anyOf"][1]["properties"]["arguments"];
  const std::string reference = arguments["properties"]["a"]["$ref"];
  EXPECT_EQ(schema.at(ordered_json::json_pointer(reference.substr(1))), ordered_json({{"type", "string"}}));
  EXPECT_EQ(arguments["properties"]["$ref"]["const"]["$ref"], "#/x");
  EXPECT_EQ(arguments["type"], "object");
}

// What the published templates write as a call begins as the forced one does.
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
    // Mistral's small models may write an id, gpt-oss may name the channel before the recipient, and a line break ends a name.
    const bool other =
        format.named_arguments || format.calls == CallSyntaxKind::kHarmony || name == "GLM-4.7-Flash";
    if (other) continue;
    EXPECT_NE(text.find(forced->prefix), std::string::npos) << name << ": " << text;
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
