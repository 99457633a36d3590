// What holds for any answer: deltas do not depend on how the text is cut, nothing is lost, and hostile answers end in time and
// bounded memory.
#include <gtest/gtest.h>

#include "runtime/text/answer/forced_call.h"
#include "tests/support/processor_time.h"
#include "tests/unit/text/answer/answer_test_support.h"

namespace onecopy::text {
namespace {

using nlohmann::ordered_json;

const ordered_json kTools = ordered_json::parse(
    R"([{"name": "f", "parameters": {"properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}}, {"name": "g"}])");

// Fragments of which answers are made: all marks, halves of them, and what stands between.
std::vector<std::string> Fragments(const AnswerFormat& format) {
  std::vector<std::string> fragments = {"f",
                                        "g",
                                        "{",
                                        "}",
                                        "[",
                                        "]",
                                        "\"",
                                        "\"name\": \"f\", \"arguments\": ",
                                        "{\"name\": \"f\", \"arguments\": {",
                                        "{}",
                                        "}}",
                                        "\n",
                                        " ",
                                        "é",
                                        "🦙",
                                        ":0",
                                        ",",
                                        ";",
                                        "<",
                                        ">",
                                        "</",
                                        "\\",
                                        "<function=f>",
                                        "</function>",
                                        "<parameter=a>",
                                        "</parameter>",
                                        "<invoke name=\"f\">",
                                        "</invoke>",
                                        "<parameter name=\"b\">",
                                        "12",
                                        "```json\n",
                                        "```",
                                        "functions.",
                                        "f(a=1)",
                                        "[g(",
                                        "to=functions.f",
                                        "analysis",
                                        "final",
                                        "json",
                                        "text",
                                        "{\"a\": \"b\"}"};
  for (const std::string_view mark : MarksOf(format)) {
    fragments.emplace_back(mark);
    fragments.emplace_back(mark);
    const std::string_view half = mark.substr(0, mark.size() / 2);
    fragments.emplace_back(half.substr(0, half.size() - IncompleteTailBytes(half)));
  }
  // Calls, whole and in parts.
  if (const auto forced = ForceCall(format, ToolSet(kTools), "f", false)) {
    const std::string call = forced->prefix + (forced->schema ? "{}" : "</function>");
    for (const std::string& part : {forced->prefix, call, call}) {
      fragments.push_back(part);
      fragments.push_back(part);
    }
  }
  return fragments;
}

std::string RandomAnswer(const std::vector<std::string>& fragments, size_t n, Pcg32& random) {
  std::string text;
  for (size_t i = 0; i < n; ++i) text += fragments[random.Next() % fragments.size()];
  return text;
}

// Without white space, which separates parts, and is written anew in arguments.
std::string WithoutSpace(const std::string& text) {
  std::string out;
  for (const char c : text)
    if (c != ' ' && c != '\n') out += c;
  return out;
}

TEST(AnswerProperty, DeltasDoNotDependOnHowTheTextIsCut) {
  Pcg32 random(21, 21);
  size_t calls = 0, contents = 0;
  for (const std::string_view name : AnswerFormatNames()) {
    const AnswerFormat format = AnswerFormatNamed(name);
    const std::vector<std::string> fragments = Fragments(format);
    const Tokenizer bytes = TokenizerWithMarks({}, 3);
    for (int round = 0; round < 150; ++round) {
      const std::string text = RandomAnswer(fragments, 1 + random.Next() % 24, random);
      const AnswerOptions options{kTools, random.Next() % 4 == 0 && !format.thought_open.empty(), 1};
      AnswerParser whole(bytes, format, options);
      const std::string expected = Shown(PushAll(whole, EncodeChat(bytes, text)));
      auto [tokenizer, ids] = CutAtRandom(text, random);
      AnswerParser cut(tokenizer, format, options);
      const std::vector<AnswerDelta> deltas = PushAll(cut, ids);
      ASSERT_EQ(Shown(deltas), expected) << name << ": " << text;
      ASSERT_EQ(cut.Message(), whole.Message()) << name << ": " << text;
      ASSERT_EQ(cut.Message(), MessageFromDeltas(deltas)) << name << ": " << text;
      calls += cut.num_calls();
      contents += !expected.empty();
    }
  }
  EXPECT_GT(calls, 50u);
  EXPECT_GT(contents, 1000u);
}

// Where no call is read, what is said and thought is the text, but for marks of thoughts and white space.
TEST(AnswerProperty, NothingIsLostWhereThereIsNoCall) {
  Pcg32 random(22, 22);
  size_t checked = 0;
  for (const std::string_view name : AnswerFormatNames()) {
    AnswerFormat format = AnswerFormatNamed(name);
    if (format.calls == CallSyntaxKind::kHarmony) continue;  // headers are not text
    format.thought_open.clear();
    format.thought_close.clear();
    const std::vector<std::string> fragments = Fragments(format);
    const Tokenizer tokenizer = TokenizerWithMarks({}, 3);
    for (int round = 0; round < 300; ++round) {
      const std::string text = RandomAnswer(fragments, 1 + random.Next() % 16, random);
      AnswerParser parser(tokenizer, format, {kTools, false, 1});
      PushAll(parser, EncodeChat(tokenizer, text));
      if (parser.num_calls() > 0) continue;
      ASSERT_EQ(WithoutSpace(parser.Message()["content"]), WithoutSpace(text)) << name;
      ++checked;
    }
  }
  EXPECT_GT(checked, 2000u);
}

// Marks as control tokens in any order: no crash, and none of them shows.
TEST(AnswerProperty, ControlTokensNeverShow) {
  Pcg32 random(23, 23);
  for (const std::string_view name : AnswerFormatNames()) {
    const AnswerFormat format = AnswerFormatNamed(name);
    const std::vector<std::string> fragments = Fragments(format);
    const Tokenizer tokenizer = TokenizerWithMarks(MarksOf(format), 3);
    for (int round = 0; round < 300; ++round) {
      const std::string text = RandomAnswer(fragments, 1 + random.Next() % 24, random);
      AnswerParser parser(tokenizer, format, {kTools, random.Next() % 4 == 0, 1});
      PushAll(parser, EncodeChat(tokenizer, text));
      const ordered_json message = parser.Message();
      // A mark in half and the rest of one may make a text that looks like one; those with a token do not.
      if (message["content"].is_null()) continue;
      const std::string said = message["content"];
      for (const std::string_view mark : MarksOf(format))
        ASSERT_TRUE(said.find(mark) == std::string::npos) << name << ": " << text << " -> " << said;
    }
  }
}

// Everything that is held back at once, and everything that is read again, many times.
TEST(AnswerProperty, HostileAnswersEndInTime) {
  const auto repeated = [](const std::string& part, size_t bytes) {
    std::string text;
    while (text.size() < bytes) text += part;
    return text;
  };
  const size_t kBytes = 400000;
  const std::pair<const char*, std::string> kAnswers[] = {
      {"hermes", repeated("<tool_call>", kBytes)},
      {"hermes", repeated("<tool_call>{\"name\": \"", kBytes)},
      {"hermes", "<tool_call>{\"name\": \"" + std::string(kBytes, 'x')},
      {"hermes", "<tool_call>{\"arguments\": {\"a\": \"" + std::string(3 * kBytes, 'x')},
      {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": " + repeated("{\"a\":", kBytes)},
      {"hermes", "<tool_call>{\"name\": \"f\", \"arguments\": {}}" + repeated(" ", kBytes)},
      {"hermes", repeated("\n", kBytes)},
      {"qwen-xml", "<tool_call><function=f><parameter=a>" + repeated("</function>", kBytes)},
      {"qwen-xml", "<tool_call><function=f><parameter=a>" + repeated("</parameter> <tool_call>", kBytes)},
      {"qwen-xml", "<tool_call><function=f>" + repeated("<parameter=a></parameter>", kBytes) + "</function>"},
      {"qwen-xml", repeated("<tool_call><function=f><parameter=a>", kBytes)},
      {"glm", "<tool_call>f" + repeated("<arg_key>a</arg_key><arg_value>", kBytes)},
      {"glm", "<tool_call>f<arg_key>" + repeated("</arg_key></tool_call>", kBytes)},
      {"minimax", repeated("<minimax:tool_call><invoke name=\"f\">", kBytes)},
      {"llama", "[f(" + repeated("a=[", kBytes)},
      {"llama", "[f(" + repeated("a=1,", kBytes)},
      {"llama", "[f(a=" + repeated("{'a':", kBytes) + repeated("}", kBytes / 5) + ")]"},
      {"mistral", "[TOOL_CALLS]" + repeated("[{\"name\":", kBytes)},
      {"mistral", repeated("[TOOL_CALLS]f[ARGS]{}", kBytes / 8)},
      {"kimi", repeated("<|tool_call_begin|>functions.", kBytes)},
      {"harmony", repeated("<|channel|>", kBytes)},
      {"harmony", repeated("<|message|><|end|>", kBytes)},
      {"plain", repeated("<thin", kBytes)},
  };
  for (const auto& [name, text] : kAnswers) {
    const Tokenizer tokenizer = TokenizerWithMarks({}, 3);
    AnswerParser parser(tokenizer, AnswerFormatNamed(name), {kTools, false, 1});
    size_t bytes = 0;
    const double seconds = test::ThreadSeconds([&, &text = text] {
      for (const char c : text)
        for (const AnswerDelta& delta : parser.Push(static_cast<uint8_t>(c))) bytes += delta.text.size();
      for (const AnswerDelta& delta : parser.Flush()) bytes += delta.text.size();
      parser.Message();
    });
    // A model takes hours for as much; the limit is for a slow machine with sanitizers.
    EXPECT_LT(seconds, 20) << name << ": " << text.substr(0, 60);
    EXPECT_LE(bytes, 3 * text.size()) << name << ": " << text.substr(0, 60);
    if (seconds > 1) std::printf("%s: %.60s…: %.1f s\n", name, text.c_str(), seconds);
  }
}

}  // namespace
}  // namespace onecopy::text
