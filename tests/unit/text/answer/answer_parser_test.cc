// Answers as vendors document them, and such as are malformed, in every format.
#include "runtime/text/answer/answer_parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/text/answer/answer_test_support.h"

namespace onecopy::text {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;
using testing::Not;

// f takes anything; g a number and a text.
ordered_json SomeTools() {
  return ordered_json::parse(R"([
    {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}},
    {"type": "function", "function": {"name": "g", "parameters": {"type": "object", "properties": {
      "n": {"type": "integer"}, "s": {"type": "string"}, "b": {"type": "boolean"}, "l": {"type": "array"},
      "o": {"anyOf": [{"type": "object"}, {"type": "null"}]}, "e": {"enum": ["a", "1"]},
      "u": {"type": ["string", "null"]}}}}},
    {"name": "get.weather-2", "parameters": null}])");
}

// What `text` is in a format, as bytes of a vocabulary without marks.
std::string Read(std::string_view format, const std::string& text, bool in_thought = false,
                 const ordered_json& tools = SomeTools()) {
  const Tokenizer tokenizer = TokenizerWithMarks({}, 3);
  AnswerParser parser(tokenizer, AnswerFormatNamed(format), {tools, in_thought, 1});
  const std::vector<AnswerDelta> deltas = PushAll(parser, EncodeChat(tokenizer, text));
  EXPECT_EQ(parser.Message(), MessageFromDeltas(deltas));
  return Shown(deltas);
}

// The same where the format's marks are control tokens.
std::string ReadControl(const AnswerFormat& format, const std::string& text, bool in_thought = false) {
  const Tokenizer tokenizer = TokenizerWithMarks(MarksOf(format), 3);
  AnswerParser parser(tokenizer, format, {SomeTools(), in_thought, 1});
  return Shown(PushAll(parser, EncodeChat(tokenizer, text)));
}

TEST(AnswerParser, TellsThoughtsFromWhatIsSaid) {
  EXPECT_EQ(Read("hermes", "<think>\nHm. \n</think>\n\n4 é\n"), "[Hm.]4 é\n");
  EXPECT_EQ(Read("hermes", "Hm.\n</think>\n\n    4", true), "[Hm.]    4");
  EXPECT_EQ(Read("hermes", "\n\n<think>Hm.</think>"), "[Hm.]");
  EXPECT_EQ(Read("hermes", "never closed <tool_call>", true), "[never closed <tool_call>]");
  EXPECT_EQ(Read("hermes", "</think>4"), "4");
  EXPECT_EQ(Read("mistral", "[THINK]Hm.[/THINK]4"), "[Hm.]4");
  EXPECT_EQ(Read("seed-xml", "<seed:think>Hm.</seed:think>4"), "[Hm.]4");
  EXPECT_EQ(Read("plain", "<think>Hm.</think>4"), "[Hm.]4");
  EXPECT_EQ(Read("plain", " \n"), " \n");
}

TEST(AnswerParser, LeavesTextThatOnlyLooksLikeAMark) {
  for (const char* text :
       {"a <think>b</think> c", "<thin", "<<think", "< think>x</think>", "a <tool", "<tool_callx>", "a\n\n",
        "x </tool_call>", "<｜tool", "{\"name\": \"f\"}", "[f()]"})
    EXPECT_EQ(Read("hermes", text), text);
  // An unfinished mark in a thought is part of it.
  EXPECT_EQ(Read("hermes", "a </thin", true), "[a </thin]");
}

TEST(AnswerParser, ReadsNoCallsWithoutTools) {
  const std::string text = "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>";
  EXPECT_EQ(Read("hermes", text, false, nullptr), text);
  EXPECT_EQ(Read("llama", "{\"name\": \"f\", \"parameters\": {}}", false, ordered_json::array()),
            "{\"name\": \"f\", \"parameters\": {}}");
}

TEST(AnswerParser, ReadsHermes) {
  EXPECT_EQ(Read("hermes",
                 "Look:\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": "
                 "\"}\\\"\"}}\n</tool_call>\n<tool_call>"
                 "{\"name\": \"g\", \"arguments\": {}}</tool_call>\n"),
            "Look:{f}({\"a\": \"}\\\"\"}){g}({})");
  // Arguments first, quoted, missing; a brace that is missing; text after the call.
  EXPECT_EQ(Read("hermes", "<tool_call>{\"arguments\": {\"a\": 1}, \"name\": \"f\"}</tool_call>"),
            "{f}({\"a\":1})");
  EXPECT_EQ(Read("hermes", "<tool_call>{\"name\": \"f\", \"arguments\": \"{\\\"a\\\": 1}\"}</tool_call>"),
            "{f}({\"a\":1})");
  EXPECT_EQ(Read("hermes", "<tool_call>{\"name\": \"f\"}</tool_call>"), "{f}({})");
  EXPECT_EQ(Read("hermes", "<tool_call>{\"name\": \"f\", \"arguments\": null}</tool_call>"), "{f}({})");
  EXPECT_EQ(Read("hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": 1}</tool_call> So."),
            "{f}({\"a\": 1}) So.");
  EXPECT_EQ(Read("hermes",
                 "<tool_call>{\"name\": \"f\", \"arguments\": {}}\n{\"name\": \"g\", \"arguments\": "
                 "{}}</tool_call>"),
            "{f}({}){g}({})");
  // A line break in a string, as models write it, is JSON again.
  EXPECT_EQ(Read("hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"b\nc\"}}</tool_call>"),
            "{f}({\"a\": \"b\\u000ac\"})");
}

TEST(AnswerParser, StreamsArgumentsAsTheyArrive) {
  const Tokenizer tokenizer = TokenizerWithMarks({}, 3);
  AnswerParser parser(tokenizer, AnswerFormatNamed("hermes"), {SomeTools(), false, 1});
  const auto push = [&](const std::string& text) {
    std::vector<AnswerDelta> deltas;
    for (const int32_t id : EncodeChat(tokenizer, text))
      for (AnswerDelta& delta : parser.Push(id)) deltas.push_back(delta);
    return Shown(deltas);
  };
  EXPECT_EQ(push("<tool_call>\n{\"name\": \"f\", \"arguments\": "), "");
  EXPECT_EQ(push("{"), "{f}({)");
  EXPECT_EQ(push("\"a\": \"lo"), "(\"a\": \"lo)");
  EXPECT_EQ(push("ng\"}"), "(ng\"})");
  EXPECT_EQ(push("}\n</tool_call>"), "");
  EXPECT_EQ(parser.num_calls(), 1u);
  EXPECT_EQ(Shown(parser.Flush()), "");
}

TEST(AnswerParser, ReadsParametersByTheirTypes) {
  const std::string call =
      "<tool_call>\n<function=g>\n<parameter=n>\n12\n</parameter>\n<parameter=s>\n12\n</"
      "parameter>\n<parameter=b>\nTrue\n"
      "</parameter>\n<parameter=l>\n[1, "
      "'x']\n</parameter>\n<parameter=o>\nnull\n</parameter>\n<parameter=e>\n1\n</parameter>\n"
      "<parameter=u>\nnone\n</parameter>\n<parameter=unknown>\n{\"a\": "
      "1}\n</parameter>\n</function>\n</tool_call>";
  EXPECT_EQ(Read("qwen-xml", call),
            "{g}({\"n\":12,\"s\":\"12\",\"b\":true,\"l\":[1,\"x\"],\"o\":null,\"e\":\"1\",\"u\":\"none\","
            "\"unknown\":{\"a\":1}})");
  // What cannot be of its type stays text.
  EXPECT_EQ(Read("qwen-xml", "<tool_call><function=g><parameter=n>many</parameter></function></tool_call>"),
            "{g}({\"n\":\"many\"})");
  // The outer mark forgotten, or two functions inside of one.
  EXPECT_EQ(Read("qwen-xml", "So:\n<function=f>\n</function>\n</tool_call>"), "So:{f}({})");
  EXPECT_EQ(
      Read("qwen-xml", "<tool_call>\n<function=f>\n</function>\n<function=g>\n</function>\n</tool_call>\n"),
      "{f}({}){g}({})");
}

TEST(AnswerParser, ReadsDeepSeek) {
  // As in the model cards of V3 and R1, and of V3.1.
  EXPECT_EQ(
      Read("deepseek",
           "Ok.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n{\"a\": 1}\n```"
           "<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>g\n```json\n{}\n```"
           "<｜tool▁call▁end｜><｜tool▁calls▁end｜>"),
      "Ok.{f}({\"a\": 1}){g}({})");
  EXPECT_EQ(Read("deepseek",
                 "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{\"a\": 1}<｜tool▁call▁end｜>"
                 "<｜tool▁call▁begin｜>get.weather-2<｜tool▁sep｜>{}<｜tool▁call▁end｜><｜tool▁calls▁end｜>"),
            "{f}({\"a\": 1}){get.weather-2}({})");
}

TEST(AnswerParser, ReadsMistral) {
  EXPECT_EQ(
      Read(
          "mistral",
          "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}}, {\"name\": \"g\", \"arguments\": {}}]"),
      "{f}({\"a\": 1}){g}({})");
  EXPECT_EQ(Read("mistral", "[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]g[CALL_ID]abcdefghi[ARGS]{}"),
            "{f}({\"a\": 1}){g}({})");
  EXPECT_EQ(Read("mistral", "[TOOL_CALLS]f{\"a\": 1}"), "{f}({\"a\": 1})");
  EXPECT_EQ(Read("mistral", "[TOOL_CALLS] [{\"arguments\": {\"a\": 1}, \"name\": \"f\"}]"), "{f}({\"a\":1})");
}

TEST(AnswerParser, ReadsGranite) {
  EXPECT_EQ(Read("granite",
                 "<|tool_call|>[{\"name\": \"f\", \"arguments\": {\"a\": 1}},\n{\"name\": \"g\", "
                 "\"arguments\": {}}]"),
            "{f}({\"a\": 1}){g}({})");
}

TEST(AnswerParser, ReadsLlama) {
  EXPECT_EQ(Read("llama", "{\"name\": \"f\", \"parameters\": {\"a\": \"1\"}}"), "{f}({\"a\": \"1\"})");
  EXPECT_EQ(Read("llama", "<|python_tag|>{\"type\": \"function\", \"name\": \"f\", \"parameters\": {}}"),
            "{f}({})");
  EXPECT_EQ(Read("llama", "{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": {}}"),
            "{f}({}){g}({})");
  EXPECT_EQ(Read("llama", "[f(a=1, b='x', c=[True, None]), get.weather-2()]"),
            "{f}({\"a\":1,\"b\":\"x\",\"c\":[true,null]}){get.weather-2}({})");
  EXPECT_EQ(Read("llama", "<|python_start|>[g(s=\"it's ]\")]<|python_end|>"), "{g}({\"s\":\"it's ]\"})");
  // Answers in JSON are no calls, nor is what calls nothing that is there.
  for (const char* text : {"{\"name\": \"Bob\", \"age\": 3}", "{\"name\": \"h\", \"parameters\": {}}",
                           "[1, 2]", "[h(a=1)]", "[f(a=1), h()]", "{\"answer\": {\"name\": \"f\"}}", "[f(a=1",
                           "[f(x)](http://x)", "{", "[", "So {\"name\": \"f\", \"parameters\": {}}"})
    EXPECT_EQ(Read("llama", text), text);
}

TEST(AnswerParser, ReadsXmlOfMiniMaxDsmlAndGlm) {
  EXPECT_EQ(Read("minimax",
                 "<minimax:tool_call>\n<invoke name=\"f\">\n<parameter "
                 "name=\"a\">[1]</parameter>\n</invoke>\n<invoke "
                 "name=\"g\">\n</invoke>\n</minimax:tool_call>"),
            "{f}({\"a\":[1]}){g}({})");
  EXPECT_EQ(Read("dsml",
                 "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"g\">\n<｜DSML｜parameter name=\"e\" "
                 "string=\"false\">1"
                 "</｜DSML｜parameter>\n<｜DSML｜parameter name=\"x\" string=\"true\">1</｜DSML｜parameter>\n"
                 "</｜DSML｜invoke>\n</｜DSML｜function_calls>"),
            "{g}({\"e\":\"1\",\"x\":\"1\"})");
  EXPECT_EQ(
      Read("glm",
           "<tool_call>g\n<arg_key>n</arg_key>\n<arg_value>1</arg_value>\n<arg_key>s</arg_key>\n<arg_value>1"
           "</arg_value>\n</tool_call>\n<tool_call>f</tool_call>"),
      "{g}({\"n\":1,\"s\":\"1\"}){f}({})");
}

TEST(AnswerParser, ReadsHarmony) {
  EXPECT_EQ(Read("harmony",
                 "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>4é"),
            "[Hm.]4é");
  // A preamble, and calls in both orders of the header.
  EXPECT_EQ(Read("harmony",
                 "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>commentary "
                 "to=functions.f "
                 "<|constrain|>json<|message|>{\"a\": 1}<|call|>"),
            "I look.{f}({\"a\": 1})");
  EXPECT_EQ(Read("harmony", " to=functions.g<|channel|>commentary json<|message|>{}<|call|>"), "{g}({})");
  EXPECT_EQ(Read("harmony", "<|channel|>commentary to=functions.g<|message|><|call|>"), "{g}({})");
  EXPECT_EQ(Read("harmony", "<|channel|>commentary to=functions.g<|message|>not json"), "not json");
  EXPECT_EQ(Read("harmony", "<|channel|>analysis to=python<|message|>1+1<|call|>"), "[1+1]");
  EXPECT_EQ(
      Read("harmony",
           "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>analysis<|message|>b<|end|>"),
      "[a\nb]");
  EXPECT_EQ(Read("harmony", "no header"), "no header");
  EXPECT_EQ(Read("harmony", "<|message|>a<|channel|>analysis<|message|>b"), "a[b]");
  for (const char* text :
       {"<|message|><|message|>a", "<|channel|><|channel|>x<|end|>", "<|end|><|end|>", "<|start|>assistant"})
    EXPECT_THAT(Read("harmony", text), Not(HasSubstr("<|"))) << text;
  EXPECT_EQ(
      ReadControl(
          AnswerFormatNamed("harmony"),
          "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.f "
          "<|constrain|>json<|message|>{}<|call|>"),
      "[Hm.]{f}({})");
}

// Granite 3.3 and ERNIE 4.5: marks around what is said after a thought.
TEST(AnswerParser, LeavesOutMarksAroundWhatIsSaid) {
  const AnswerFormat format =
      ChooseAnswerFormat("<think></think> <response></response> <tool_call>", TokenizerWithMarks({}, 3));
  const Tokenizer tokenizer = TokenizerWithMarks({}, 3);
  const auto read = [&](const std::string& text) {
    AnswerParser parser(tokenizer, format, {SomeTools(), false, 1});
    return Shown(PushAll(parser, EncodeChat(tokenizer, text)));
  };
  EXPECT_EQ(read("<think>\nHm.\n</think>\n\n<response>\n4\n</response>\n"), "[Hm.]4");
  EXPECT_EQ(read("a <response>b</response>"), "a <response>b</response>");
  EXPECT_EQ(read("<think>Hm.</think>\n<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>\n"),
            "[Hm.]{f}({})");
}

TEST(AnswerParser, GivesMalformedCallsAsContent) {
  const std::pair<const char*, const char*> kCases[] = {
      {"hermes", "<tool_call>{\"name\": \"f\""},
      {"hermes", "<tool_call>{\"name\": \"f g\", \"arguments\": {}}</tool_call>"},
      {"hermes", "<tool_call>not json</tool_call>"},
      {"hermes", "<tool_call>{\"arguments\": {\"a\": 1}}</tool_call>"},
      {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": [1]}</tool_call>"},
      {"qwen-xml", "<tool_call>\n<function=f>\n<parameter=a>\n1\n</function>\n</tool_call>"},
      {"qwen-xml", "<tool_call>\n<function=f>\nwhat\n</function>\n</tool_call>"},
      {"qwen-xml", "<tool_call>\n<function=f>\n<parameter=a>\n1"},
      {"qwen-xml", "<tool_call>x"},
      {"glm", "<tool_call>f\n<arg_key>a</arg_key>\n</tool_call>"},
      {"glm", "<tool_call>two words</tool_call>"},
      {"deepseek", "<｜tool▁calls▁begin｜>so"},
      {"deepseek", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>[1]"},
      {"kimi",
       "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>nothing"},
      {"mistral", "[TOOL_CALLS]not a name[ARGS]{}"},
      {"mistral", "[TOOL_CALLS][]"},
      {"minimax", "<minimax:tool_call>\n<invoke name=\"f\">\n<parameter name=\"a\">1</invoke>"},
  };
  for (const auto& [format, text] : kCases) EXPECT_EQ(Read(format, text), text) << format;
}

TEST(AnswerParser, GoesOnAfterMalformedCalls) {
  const std::string good = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>";
  EXPECT_EQ(Read("hermes", "<tool_call>what" + good), "<tool_call>what{f}({})");
  EXPECT_EQ(Read("hermes", "<tool_call>" + good), "<tool_call>{f}({})");
  EXPECT_EQ(Read("hermes", "<tool_call>{\"name\": " + good), "<tool_call>{\"name\":{f}({})");
  // What was shown stays: arguments that end early, and the rest as text.
  EXPECT_EQ(Read("hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": oh}}</tool_call>"),
            "{f}({\"a\": )oh}}</tool_call>");
  EXPECT_EQ(Read("hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"cut"),
            "{f}({\"a\": \"cut)");
  EXPECT_EQ(Read("glm", "<tool_call>no\n\nreally<tool_call>f\n</tool_call>"),
            "<tool_call>no\n\nreally{f}({})");
  EXPECT_EQ(
      Read("qwen-xml", "<tool_call>\n<function=f>\n<tool_call>\n<function=g>\n</function>\n</tool_call>"),
      "<tool_call>\n<function=f>{g}({})");
}

TEST(AnswerParser, TakesControlTokensForMarksWhereverTheyStand) {
  const AnswerFormat kimi = AnswerFormatNamed("kimi");
  const std::string call =
      "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:3<|tool_call_argument_begin|>{\"a\": "
      "1}<|tool_call_end|>"
      "<|tool_calls_section_end|>";
  EXPECT_EQ(ReadControl(kimi, "Hm." + call, true), "[Hm.]{f}({\"a\": 1})");
  EXPECT_EQ(ReadControl(kimi, "Hm. <think>More.</think>So."), "Hm.[More.]So.");
  // Those of a malformed call are not text.
  EXPECT_EQ(ReadControl(kimi, "<|tool_calls_section_begin|>what<|tool_call_end|>"), "what");
  EXPECT_EQ(
      ReadControl(kimi,
                  "<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{\"a\": \"b<|tool_call_end|>"
                  "<|tool_calls_section_end|> So."),
      "{f}({\"a\": \"b) So.");
  EXPECT_EQ(ReadControl(AnswerFormatNamed("mistral"), "[TOOL_CALLS]what is[TOOL_CALLS]f[ARGS]{}"),
            "what is{f}({})");
  EXPECT_EQ(ReadControl(AnswerFormatNamed("llama"), "<|python_tag|>import math"), "import math");
  // Kimi's templates write results under these ids.
  const Tokenizer tokenizer = TokenizerWithMarks(MarksOf(kimi), 3);
  AnswerParser parser(tokenizer, kimi, {SomeTools(), false, 1});
  PushAll(parser, EncodeChat(tokenizer, call));
  EXPECT_EQ(parser.Message()["tool_calls"][0]["id"], "functions.f:3");
}

// A user can make a model repeat a mark letter by letter; the token is another thing.
TEST(AnswerParser, DoesNotTakeTextForControlTokens) {
  const AnswerFormat format = AnswerFormatNamed("mistral");
  const Tokenizer tokenizer = TokenizerWithMarks(MarksOf(format), 3);
  AnswerParser parser(tokenizer, format, {SomeTools(), false, 1});
  const std::string text = "[TOOL_CALLS]f[ARGS]{}";
  EXPECT_EQ(Shown(PushAll(parser, tokenizer.Encode(text, {.add_special = false, .parse_special = false}))),
            text);
}

TEST(AnswerParser, GivesIdsAsTheFamilyTakesThem) {
  const Tokenizer tokenizer = TokenizerWithMarks({}, 3);
  const auto ids = [&](std::string_view format, const std::string& text, uint64_t seed) {
    AnswerParser parser(tokenizer, AnswerFormatNamed(format), {SomeTools(), false, seed});
    PushAll(parser, EncodeChat(tokenizer, text));
    std::vector<std::string> out;
    const ordered_json message = parser.Message();
    for (const ordered_json& call : message["tool_calls"]) out.push_back(call["id"]);
    return out;
  };
  const std::string calls = "[TOOL_CALLS]f[ARGS]{}[TOOL_CALLS]f[ARGS]{}";
  const auto first = ids("mistral", calls, 1), second = ids("mistral", calls, 2);
  ASSERT_EQ(first.size(), 2u);
  EXPECT_EQ(first[0].size(), 9u);
  EXPECT_EQ((std::set<std::string>{first[0], first[1], second[0], second[1]}).size(), 4u);
  EXPECT_EQ(ids("mistral", "[TOOL_CALLS]f[CALL_ID]ABCdef123[ARGS]{}", 1)[0], "ABCdef123");
  EXPECT_THAT(ids("hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>", 1)[0],
              testing::StartsWith("call_"));
}

}  // namespace
}  // namespace onecopy::text
