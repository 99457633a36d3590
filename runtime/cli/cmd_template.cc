// onecopy template: what a model's chat template makes of a conversation. Reads headers only, so a GGUF file with nothing
// but a vocabulary will do.
#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "runtime/base/error.h"
#include "runtime/base/file.h"
#include "runtime/cli/chat_options.h"
#include "runtime/cli/command.h"
#include "runtime/cli/model_options.h"
#include "runtime/cli/tokenizer_source.h"
#include "runtime/text/chat_template.h"

namespace onecopy::cli {
namespace {

struct TemplateOptions {
  std::string model, file;
  ChatOptions chat;
  bool no_generation_prompt = false, json = false;
};

// An array of messages, or an object {"messages", "tools"?, …} of which the rest are variables of the template.
text::ChatInput ReadConversation(const TemplateOptions& options) {
  auto json = nlohmann::ordered_json::parse(ReadTextFile(options.file), nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) Fail(ErrorCode::kBadInput, "{} is not JSON", options.file);
  text::ChatInput input;
  input.variables = nlohmann::ordered_json::object();
  if (json.is_object()) {
    for (auto& [key, value] : json.items()) {
      if (key == "messages") {
        input.messages = value;
      } else if (key == "tools") {
        input.tools = value;
      } else {
        input.variables[key] = value;
      }
    }
  } else {
    input.messages = std::move(json);
  }
  input.variables.update(ChatVariables(options.chat));
  input.add_generation_prompt = !options.no_generation_prompt;
  return input;
}

void Render(const TemplateOptions& options) {
  const text::Tokenizer tokenizer = MakeTokenizer(OpenCheckpoint(ResolveModelPath(options.model)));
  jinja::Renderer renderer;
  const std::string text =
      text::RenderChat(renderer, tokenizer, ReadConversation(options), ReadChatTemplate(options.chat));
  if (!options.json) return Print(text);
  const nlohmann::ordered_json json = {{"text", text}, {"tokens", text::EncodeChat(tokenizer, text)}};
  Print(json.dump() + "\n");
}

}  // namespace

Command TemplateCommand() {
  auto options = std::make_shared<TemplateOptions>();
  Command command;
  command.name = "template";
  command.summary = "What a model's chat template makes of a conversation";
  command.examples =
      "  onecopy template -m model.gguf -f messages.json\n"
      "  onecopy template -m model.gguf -f messages.json --template-variable enable_thinking=false --json\n"
      "where messages.json is [{\"role\": \"user\", \"content\": \"Hello\"}], or an object with messages, "
      "tools, and "
      "variables.\n";
  command.add_options = [options](CLI::App* app) {
    AddModelOption(app, &options->model);
    app->add_option("-f,--file", options->file, "the conversation, as JSON")->required();
    AddChatOptions(app, &options->chat);
    app->add_flag("--no-generation-prompt", options->no_generation_prompt,
                  "end after the last message, rather than where the model's answer begins");
    app->add_flag("--json", options->json, "print one JSON object with text and tokens");
  };
  command.run = [options](comm::Communicator& comm, const Seat&) {
    OnFirstRank(comm, "template", [&] { Render(*options); });
  };
  return command;
}

}  // namespace onecopy::cli
