// Chat templates: the text is what transformers' apply_chat_template gives, character by character, for published templates.
#include "runtime/text/chat_template.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "runtime/model/checkpoint.h"
#include "tests/unit/text/test_metadata.h"

namespace onecopy::text {
namespace {

using nlohmann::ordered_json;

std::string ReadGoldenFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

class ChatTemplate : public testing::Test {
 protected:
  void SetUp() override {
    setenv("TZ", "UTC", 1);
    if (!std::filesystem::exists(ONECOPY_JINJA))
      GTEST_SKIP() << "onecopy-jinja is not built: no Python, or no pybind11";
  }
  jinja::Renderer renderer_{ONECOPY_JINJA};
};

// With the special tokens that a golden was made with.
Tokenizer WithTokens(const nlohmann::json& tokens) {
  nlohmann::json metadata = ByteLevelMetadata({}, {});
  nlohmann::json& texts = metadata["tokenizer.ggml.tokens"];
  for (const auto& [name, key] : {std::pair("bos_token", "bos_token_id"),
                                  {"eos_token", "eos_token_id"},
                                  {"unk_token", "unknown_token_id"},
                                  {"pad_token", "padding_token_id"}}) {
    metadata[std::string("tokenizer.ggml.") + key] = texts.size();
    texts.push_back(tokens.at(name));
    metadata["tokenizer.ggml.token_type"].push_back(3);
  }
  return Tokenizer::FromGguf(metadata);
}

// Another folder of templates and expected.json, by make_chat_goldens.py, where ONECOPY_TEST_CHAT_TEMPLATES names one.
std::string GoldenFolder() {
  const char* other = std::getenv("ONECOPY_TEST_CHAT_TEMPLATES");
  return other ? other : ONECOPY_TEST_CHAT;
}

TEST_F(ChatTemplate, GivesTheTextOfTransformersForPublishedTemplates) {
  const ordered_json golden = ordered_json::parse(ReadGoldenFile(GoldenFolder() + "/expected.json"));
  const Tokenizer tokenizer = WithTokens(golden["tokens"]);
  size_t texts = 0, refusals = 0;
  for (const auto& [name, expected] : golden["texts"].items()) {
    const std::string source = ReadGoldenFile(GoldenFolder() + "/" + name + ".jinja");
    for (const auto& [case_name, c] : golden["cases"].items()) {
      ChatInput input;
      input.messages = c["messages"];
      if (c.contains("tools")) input.tools = c["tools"];
      if (c.contains("variables")) input.variables = c["variables"];
      input.add_generation_prompt = c.value("add_generation_prompt", true);
      input.now = golden["now"].get<int64_t>();
      const ordered_json& text = expected[case_name];
      try {
        EXPECT_EQ(RenderChat(renderer_, tokenizer, input, source), text.is_null() ? "an error" : text)
            << name << ": " << case_name;
        ++texts;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kBadInput);
        EXPECT_TRUE(text.is_null()) << name << ": " << case_name << ": " << error.what();
        ++refusals;
      }
    }
  }
  EXPECT_GT(texts, 500u);
  EXPECT_GT(refusals, 30u);
}

TEST_F(ChatTemplate, GivesTheTokensOfTransformers) {
  const std::string folder = ONECOPY_TEST_DATA "/goldens/qwen3_moe";
  const Checkpoint c = OpenCheckpoint(folder);
  const Tokenizer tokenizer =
      Tokenizer::FromHuggingFace(c.tokenizer, c.tokenizer_config, c.generation_config, c.metadata);
  const ordered_json chat = ordered_json::parse(ReadGoldenFile(folder + "/golden_tokenizer.json"))["chat"];
  ChatInput input;
  input.messages = chat["messages"];
  const std::string text = RenderChat(renderer_, tokenizer, input);
  EXPECT_EQ(text, chat["text"]);
  EXPECT_EQ(ordered_json(EncodeChat(tokenizer, text)), chat["ids"]);
}

TEST_F(ChatTemplate, DoesNotDoubleBos) {
  nlohmann::json metadata = ByteLevelMetadata({}, {"<s>"});
  metadata["tokenizer.ggml.bos_token_id"] = 256;
  metadata["tokenizer.ggml.add_bos_token"] = true;
  metadata["tokenizer.chat_template"] = "{{ bos_token }}{{ messages[0].content }}";
  const Tokenizer tokenizer = Tokenizer::FromGguf(metadata);
  ChatInput input;
  input.messages = {{{"role", "user"}, {"content", "A"}}};
  EXPECT_EQ(EncodeChat(tokenizer, RenderChat(renderer_, tokenizer, input)), (std::vector<int32_t>{256, 'A'}));
}

TEST_F(ChatTemplate, OfToolsIsTakenWhereThereAreTools) {
  nlohmann::json metadata = ByteLevelMetadata({}, {});
  metadata["tokenizer.chat_template"] = "plain";
  metadata["tokenizer.chat_template.tool_use"] = "{{ tools[0].name }}";
  const Tokenizer tokenizer = Tokenizer::FromGguf(metadata);
  ChatInput input;
  input.messages = {{{"role", "user"}, {"content", "A"}}};
  EXPECT_EQ(RenderChat(renderer_, tokenizer, input), "plain");
  input.tools = {{{"name", "f"}}};
  EXPECT_EQ(RenderChat(renderer_, tokenizer, input), "f");
  EXPECT_EQ(RenderChat(renderer_, tokenizer, input, "given"), "given");
}

TEST_F(ChatTemplate, RefusesWhatIsNoConversation) {
  nlohmann::json metadata = ByteLevelMetadata({}, {});
  metadata["tokenizer.chat_template"] = "x";
  const Tokenizer tokenizer = Tokenizer::FromGguf(metadata);
  for (const ordered_json& messages : {ordered_json("text"), ordered_json(), ordered_json{1, 2}}) {
    ChatInput input;
    input.messages = messages;
    MessageOf(ErrorCode::kBadInput, [&] { RenderChat(renderer_, tokenizer, input); });
  }
}

TEST(ChooseChatTemplate, SaysWhatToDoWhereThereIsNone) {
  nlohmann::json metadata = ByteLevelMetadata({}, {});
  const Tokenizer none = Tokenizer::FromGguf(metadata);
  const std::string message = MessageOf(ErrorCode::kUsage, [&] { ChooseChatTemplate(none, false); });
  EXPECT_NE(message.find("generate"), std::string::npos) << message;
  EXPECT_NE(message.find("--chat-template"), std::string::npos) << message;
  metadata["tokenizer.chat_template.rag"] = "x";
  const Tokenizer other = Tokenizer::FromGguf(metadata);
  EXPECT_NE(MessageOf(ErrorCode::kUsage, [&] { ChooseChatTemplate(other, false); }).find("rag"),
            std::string::npos);
}

}  // namespace
}  // namespace onecopy::text
