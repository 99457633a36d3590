// chat and template as a user runs them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/onecopy.h"

namespace onecopy {
namespace {

using nlohmann::json;
using test::Onecopy;
using testing::HasSubstr;

// The shipped model never ends by itself with this.
const std::string kEndless = " --logit-bias 4095:-inf --logit-bias 4093:-inf ";

class Chat : public testing::Test {
 protected:
  void SetUp() override {
    const auto program = std::filesystem::path(ONECOPY_BINARY).parent_path() / "onecopy-jinja";
    if (!std::filesystem::exists(program))
      GTEST_SKIP() << program << " is not built: no Python, or no pybind11";
  }
};

// "|" between the lines that are typed.
test::CommandResult ChatOf(std::string lines, const std::string& options, const std::string& launcher = "") {
  for (char& c : lines)
    if (c == '|') c = '\n';
  return test::RunCommand(
      {"sh", "-c", "printf '%s\\n' \"$0\" | " + launcher + " " ONECOPY_BINARY " chat --temp 0 " + options,
       lines});
}

std::string TemplateText(const json& messages) {
  test::TempFile file;
  std::ofstream(file.path()) << messages.dump();
  const auto result = Onecopy({"template", "-f", file.path()});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return result.out;
}

std::string Continue(const std::string& prompt, int n) {
  const auto result = Onecopy({"generate", "-p", prompt, "-n", std::to_string(n), "--temp", "0", "--json",
                               "--ignore-eos", "--logit-bias", "4095:-inf", "--logit-bias", "4093:-inf"});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return json::parse(result.out).at("text");
}

TEST_F(Chat, TemplateWritesTheConversation) {
  EXPECT_EQ(TemplateText({{{"role", "user"}, {"content", "Hé"}}}),
            "<|im_start|>user\nHé<|im_end|>\n<|im_start|>assistant\n");
  test::TempFile file;
  std::ofstream(file.path()) << R"({"messages": [{"role": "user", "content": "a"}], "x": 1})";
  const auto result = Onecopy({"template", "-f", file.path(), "--no-generation-prompt", "--json"});
  const json object = json::parse(result.out);
  EXPECT_EQ(object.at("text"), "<|im_start|>user\na<|im_end|>\n");
  EXPECT_EQ(object.at("tokens").front(), 4094);
}

TEST_F(Chat, AnswersEachLineAndReadsOnlyWhatIsNew) {
  const auto result = ChatOf("Hello|And then?", "-n 12" + kEndless);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  json messages = {{{"role", "user"}, {"content", "Hello"}}};
  const std::string first = Continue(TemplateText(messages), 12);
  messages.push_back({{"role", "assistant"}, {"content", first}});
  messages.push_back({{"role", "user"}, {"content", "And then?"}});
  const std::string second = Continue(TemplateText(messages), 12);
  EXPECT_EQ(result.out, first + "\n" + second + "\n") << "as if all had been read anew";
  EXPECT_THAT(result.err, HasSubstr(" 0 known before; answered 12 tokens"));
  EXPECT_THAT(result.err, testing::Not(testing::ContainsRegex(" 0 known before.*\n.* 0 known before")));
}

TEST_F(Chat, GivesTheSameOverTwoRanks) {
  const auto one = ChatOf("Hello|More", "-n 8" + kEndless);
  const auto two = ChatOf("Hello|More", "-n 8" + kEndless,
                          "mpirun --allow-run-as-root --oversubscribe --bind-to none -n 2");
  EXPECT_EQ(two.exit_code, 0) << two.err;
  EXPECT_EQ(two.out, one.out);
}

TEST_F(Chat, ObeysCommands) {
  test::TempFile saved;
  const auto result =
      ChatOf("/help|/system Be brief.|Hello|/save " + saved.path() + "|/reset|/nonsense|/exit|not read",
             "-n 4" + kEndless);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("/system TEXT"));
  EXPECT_THAT(result.err, HasSubstr("there is no command /nonsense"));
  const json messages = json::parse(saved.Read());
  ASSERT_EQ(messages.size(), 3u);
  EXPECT_EQ(messages[0], (json{{"role", "system"}, {"content", "Be brief."}}));
  EXPECT_EQ(messages[2]["content"].get<std::string>() + "\n", result.out);
}

TEST_F(Chat, ForgetsTheOldestTurnsWhereTheContextIsFull) {
  const auto result = ChatOf("One|Two|Three|Four", "--context 128 -n 30" + kEndless);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.err, HasSubstr("the oldest turn is forgotten"));
  const auto large = ChatOf(std::string(2000, 'x') + "|Hi", "--context 128 -n 4" + kEndless);
  EXPECT_EQ(large.exit_code, 0) << large.err;
  EXPECT_THAT(large.err, HasSubstr("shorten it, or start with a larger --context"));
  const auto endless = ChatOf("Hi", "--context 128" + kEndless);
  EXPECT_THAT(endless.err, HasSubstr("the answer ends because the context of 128 tokens is full"));
}

TEST_F(Chat, CtrlCStopsTheAnswerAndKeepsTheConversation) {
  test::TempFile out, err, go;
  std::filesystem::remove(go.path());
  bool sent = false;
  test::CommandOptions options;
  options.while_running = [&](pid_t pid) {
    if (sent || out.Read().empty()) return;
    kill(pid, SIGINT);  // the shell has become onecopy
    sent = true;
    std::ofstream(go.path()) << "go";
  };
  const auto result =
      test::RunCommand({"bash", "-c",
                        "exec " ONECOPY_BINARY " chat --temp 0 --context 2048" + kEndless + " >" +
                            out.path() + " 2>" + err.path() + " < <(echo Hello; while [[ ! -e " + go.path() +
                            " ]]; do sleep 0.05; done; echo /save " + go.path() + "; echo /exit)"},
                       options);
  EXPECT_EQ(result.exit_code, 0) << err.Read();
  EXPECT_TRUE(sent);
  const json messages = json::parse(go.Read());
  ASSERT_EQ(messages.size(), 2u) << "with what there was of the answer";
  EXPECT_EQ(messages[1]["content"].get<std::string>() + "\n", out.Read());
}

TEST_F(Chat, SaysWhatToDoWithoutATemplate) {
  namespace fs = std::filesystem;
  test::TempFile folder(".d");
  fs::create_directory(folder.path());
  for (const auto& file : fs::directory_iterator(ONECOPY_TEST_TINY_MOE))
    if (file.path().filename() != "chat_template.jinja" && file.path().filename() != "tokenizer_config.json")
      fs::create_symlink(file.path(), folder.path() + "/" + file.path().filename().string());
  std::ofstream(folder.path() + "/tokenizer_config.json") << "{}";
  const auto result = ChatOf("Hello", "-m " + folder.path());
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_THAT(result.err, HasSubstr("use generate, or give a template with --chat-template FILE"));
  std::ofstream(folder.path() + "/t.jinja") << "{{ messages[0].content }}";
  EXPECT_EQ(ChatOf("Hello", "-n 2 -m " + folder.path() + " --chat-template " + folder.path() + "/t.jinja")
                .exit_code,
            0);
  std::ofstream(folder.path() + "/t.jinja") << "{{ ''.__class__.__mro__ }}";
  EXPECT_EQ(
      ChatOf("Hello", "-m " + folder.path() + " --chat-template " + folder.path() + "/t.jinja").exit_code, 3);
  fs::remove_all(folder.path());
}

}  // namespace
}  // namespace onecopy
