// Messages of OpenAI's clients give the text that transformers makes of the same conversation in the template's own form.
#include "runtime/text/chat_messages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "runtime/text/chat_template.h"
#include "tests/unit/text/test_metadata.h"

namespace onecopy::text {
namespace {

using nlohmann::ordered_json;
using testing::HasSubstr;
using testing::Not;

std::string FileText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

// As Python's json.dumps writes it, which clients send and templates write.
std::string PythonJson(const ordered_json& value) {
  std::string out;
  if (value.is_object()) {
    for (const auto& [key, member] : value.items())
      out += (out.empty() ? "" : ", ") + ordered_json(key).dump() + ": " + PythonJson(member);
    return "{" + out + "}";
  }
  if (!value.is_array()) return value.dump();
  for (const ordered_json& member : value) out += (out.empty() ? "" : ", ") + PythonJson(member);
  return "[" + out + "]";
}

// What clients send: arguments as text, no name of a result.
ordered_json AsClientsSend(ordered_json messages) {
  for (ordered_json& message : messages) {
    if (message["role"] == "tool") message.erase("name");
    if (!message.contains("tool_calls")) continue;
    for (ordered_json& call : message["tool_calls"]) {
      ordered_json& arguments = call["function"]["arguments"];
      if (!arguments.is_string()) arguments = PythonJson(arguments);
    }
    if (message["content"] == ordered_json("")) message["content"] = nullptr;
  }
  return messages;
}

class ChatMessages : public testing::Test {
 protected:
  void SetUp() override {
    setenv("TZ", "UTC", 1);
    if (!std::filesystem::exists(ONECOPY_JINJA))
      GTEST_SKIP() << "onecopy-jinja is not built: no Python, or no pybind11";
  }
  std::string Render(const std::string& source, const ordered_json& messages, const ordered_json& tools) {
    ChatInput input;
    input.messages = messages;
    input.tools = tools;
    input.now = golden_["now"].get<int64_t>();
    nlohmann::json metadata = ByteLevelMetadata({}, {});
    metadata["tokenizer.ggml.tokens"].push_back("<BOS>");
    metadata["tokenizer.ggml.tokens"].push_back("<EOS>");
    for (int i = 0; i < 2; ++i) metadata["tokenizer.ggml.token_type"].push_back(3);
    metadata["tokenizer.ggml.bos_token_id"] = 256;
    metadata["tokenizer.ggml.eos_token_id"] = 257;
    return RenderChat(renderer_, Tokenizer::FromGguf(metadata), input, source);
  }
  std::string Template(const std::string& name) {
    return FileText(std::string(ONECOPY_TEST_CHAT) + "/" + name + ".jinja");
  }

  jinja::Renderer renderer_{ONECOPY_JINJA};
  const ordered_json golden_ = ordered_json::parse(FileText(ONECOPY_TEST_CHAT "/expected.json"));
};

TEST_F(ChatMessages, WithCallsGiveTheTextOfTransformers) {
  size_t texts = 0;
  for (const auto& [name, expected] : golden_["texts"].items()) {
    const std::string source = Template(name);
    const MessageRules rules = MessageRulesOf(source);
    for (const char* case_name :
         {"turns", "system", "tool result", "tool answer", "two calls", "thought before a call"}) {
      // Transformers refuses, or writes one call of two.
      if (expected[case_name].is_null() ||
          (rules.one_call_a_message && std::string(case_name) == "two calls"))
        continue;
      const ordered_json& c = golden_["cases"][case_name];
      const ordered_json messages = NormalizeMessages(AsClientsSend(c["messages"]), rules);
      EXPECT_EQ(Render(source, messages, c.value("tools", ordered_json())),
                expected[case_name].get<std::string>())
          << name << ": " << case_name;
      ++texts;
    }
  }
  EXPECT_GT(texts, 130u);
}

TEST_F(ChatMessages, OfEveryFormAreSaidByEveryTemplate) {
  for (const auto& [name, expected] : golden_["texts"].items()) {
    const std::string source = Template(name);
    const MessageRules rules = MessageRulesOf(source);
    const auto rendered = [&](const ordered_json& messages) {
      return Render(source, NormalizeMessages(messages, rules), nullptr);
    };
    const std::string parts = rendered(
        {{{"role", "user"},
          {"content", {{{"type", "text"}, {"text", "PartOne"}}, {{"type", "text"}, {"text", "PartTwo"}}}}}});
    EXPECT_THAT(parts, HasSubstr("PartOne")) << name;
    EXPECT_THAT(parts, HasSubstr("PartTwo")) << name;
    EXPECT_THAT(parts, Not(HasSubstr("'type'"))) << name;
    if (expected["system"].is_null()) continue;
    const std::string developer =
        rendered({{{"role", "developer"}, {"content", {{{"type", "text"}, {"text", "BeBrief"}}}}},
                  {{"role", "user"}, {"content", "Go"}}});
    // A template that leaves system messages out cannot say it.
    const bool says = expected["system"].get<std::string>().find("You are terse.") != std::string::npos;
    EXPECT_EQ(developer.find("BeBrief") != std::string::npos, says) << name;
  }
}

// Where a template takes one call a message, each is followed by its result.
TEST_F(ChatMessages, WithTwoCallsAreTakenApartWhereATemplateTakesOne) {
  const std::string source = Template("openai-gpt-oss-120b");
  const ordered_json& c = golden_["cases"]["two calls"];
  ordered_json messages = AsClientsSend(c["messages"]);
  messages[1]["reasoning_content"] = "Thinking.";
  std::swap(messages[2], messages[3]);  // results in another order
  const std::string text = Render(source, NormalizeMessages(messages, MessageRulesOf(source)), c["tools"]);
  EXPECT_THAT(
      text, HasSubstr("<|start|>user<|message|>Both?<|end|><|start|>assistant<|channel|>analysis<|message|>"
                      "Thinking.\nLooking.<|end|><|start|>assistant to=functions.get_weather<|channel|>"
                      "commentary json<|message|>{\"place\": \"Bern\"}<|call|><|start|>functions.get_weather "
                      "to=assistant<|channel|>commentary<|message|>\"sun\"<|end|><|start|>assistant "
                      "to=functions.get_weather<|channel|>commentary json<|message|>{\"place\": \"Genf\"}"
                      "<|call|><|start|>functions.get_weather to=assistant<|channel|>commentary<|message|>"
                      "\"fog\"<|end|><|start|>assistant"));
}

// Ids that clients bring along are made such as Mistral's templates take, alike for a call and its result.
TEST_F(ChatMessages, HaveIdsThatMistralTakes) {
  const std::string source = Template("Mistral-Small-3.2-24B-Instruct-2506");
  ordered_json messages = AsClientsSend(golden_["cases"]["two calls"]["messages"]);
  messages[1]["tool_calls"][0]["id"] = "call_A-long-id-of-another-server";
  messages[2]["tool_call_id"] = "call_A-long-id-of-another-server";
  const ordered_json normal = NormalizeMessages(messages, MessageRulesOf(source));
  const std::string id = normal[1]["tool_calls"][0]["id"];
  EXPECT_EQ(id.size(), 9u);
  EXPECT_EQ(normal[2]["tool_call_id"], id);
  EXPECT_EQ(normal[3]["tool_call_id"], "bbbbbbbbb");
  EXPECT_THAT(Render(source, normal, golden_["cases"]["two calls"]["tools"]),
              HasSubstr("[CALL_ID]" + id + "[ARGS]"));
}

TEST(NormalizeMessages, KeepsTextOfArgumentsWhereATemplateTakesIt) {
  const auto arguments = [](const ordered_json& value, bool string_arguments) {
    const ordered_json messages = {
        {{"role", "assistant"},
         {"content", nullptr},
         {"tool_calls", {{{"id", "a"}, {"function", {{"name", "f"}, {"arguments", value}}}}}}}};
    const ordered_json normal = NormalizeMessages(messages, {.string_arguments = string_arguments});
    EXPECT_EQ(normal[0]["content"], "");
    EXPECT_EQ(normal[0]["tool_calls"][0]["type"], "function");
    return normal[0]["tool_calls"][0]["function"]["arguments"].dump();
  };
  EXPECT_EQ(arguments("{\"a\":  1}", true), "\"{\\\"a\\\":  1}\"");
  EXPECT_EQ(arguments("{\"a\":  1}", false), "{\"a\":1}");
  EXPECT_EQ(arguments({{"a", 1}}, false), "{\"a\":1}");
  EXPECT_EQ(arguments("", false), "{}");
  EXPECT_EQ(arguments(" ", true), "\"{}\"");
  EXPECT_EQ(arguments(nullptr, false), "{}");
  EXPECT_EQ(arguments("{\"a\": ", false), "{\"arguments\":\"{\\\"a\\\": \"}");
  EXPECT_EQ(arguments("[1]", false), "{\"arguments\":\"[1]\"}");
  // Deeper than what JSON is written with.
  EXPECT_THAT(arguments("{\"a\":" + std::string(100000, '[') + std::string(100000, ']') + "}", false),
              HasSubstr("{\"arguments\":\"{"));
}

TEST(NormalizeMessages, NamesResultsAndDropsEmptyCalls) {
  const ordered_json normal = NormalizeMessages(
      {{{"role", "assistant"},
        {"content", "x"},
        {"tool_calls", {{{"id", "a"}, {"function", {{"name", "f"}, {"arguments", "{}"}}}}}}},
       {{"role", "tool"}, {"tool_call_id", "a"}, {"content", {{{"type", "text"}, {"text", "1"}}}}},
       {{"role", "tool"}, {"tool_call_id", "unknown"}, {"content", nullptr}},
       {{"role", "assistant"},
        {"content", {{{"type", "refusal"}, {"refusal", "No."}}}},
        {"tool_calls", ordered_json::array()}}},
      {.content_parts = true});
  EXPECT_EQ(normal[1]["name"], "f");
  EXPECT_EQ(normal[1]["content"], "1");
  EXPECT_EQ(normal[2]["content"], "");
  EXPECT_FALSE(normal[2].contains("name"));
  EXPECT_EQ(normal[3]["content"], "No.");
  EXPECT_FALSE(normal[3].contains("tool_calls"));
}

TEST(NormalizeMessages, JoinsADeveloperToTheSystemBeforeIt) {
  const ordered_json messages = {{{"role", "system"}, {"content", "a"}},
                                 {{"role", "developer"}, {"content", "b"}}};
  EXPECT_EQ(NormalizeMessages(messages, {}), (ordered_json{{{"role", "system"}, {"content", "a\n\nb"}}}));
  EXPECT_EQ(NormalizeMessages(messages, {.developer_role = true}), messages);
}

TEST(NormalizeMessages, RefusesWhatIsNotOfTheForm) {
  const auto message = [](const ordered_json& messages) {
    return MessageOf(ErrorCode::kUsage, [&] { NormalizeMessages(messages, {}); });
  };
  EXPECT_THAT(message("text"), HasSubstr("array"));
  EXPECT_THAT(message(ordered_json::array()), HasSubstr("empty"));
  EXPECT_THAT(message({1}), HasSubstr("messages[0]"));
  EXPECT_THAT(message({{{"content", "x"}}}), HasSubstr("role"));
  EXPECT_THAT(message({{{"role", 7}, {"content", "x"}}}), HasSubstr("role"));
  EXPECT_THAT(message({{{"role", "user"}}}), HasSubstr("messages[0].content"));
  EXPECT_THAT(message({{{"role", "user"}, {"content", 7}}}), HasSubstr("number"));
  EXPECT_THAT(message({{{"role", "user"}, {"content", {"x"}}}}), HasSubstr("messages[0].content[0]"));
  EXPECT_THAT(
      message(
          {{{"role", "user"},
            {"content",
             {{{"type", "text"}, {"text", "x"}}, {{"type", "image_url"}, {"image_url", {{"url", "u"}}}}}}}}),
      HasSubstr("messages[0].content[1] is of type image_url; only text is supported"));
  EXPECT_THAT(message({{{"role", "user"}, {"content", {{{"type", "text"}, {"text", 1}}}}}}),
              HasSubstr("text"));
  EXPECT_THAT(message({{{"role", "assistant"}, {"tool_calls", "x"}}}), HasSubstr("tool_calls"));
  EXPECT_THAT(message({{{"role", "assistant"}, {"tool_calls", {{{"id", "a"}}}}}}),
              HasSubstr("tool_calls[0]"));
}

}  // namespace
}  // namespace onecopy::text
