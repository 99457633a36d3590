#include "runtime/cli/chat_options.h"

#include <CLI/CLI.hpp>

#include "runtime/base/error.h"
#include "runtime/base/file.h"

namespace onecopy::cli {

void AddChatOptions(CLI::App* app, ChatOptions* options) {
  app->add_option("--chat-template", options->template_file,
                  "a Jinja template to use instead of the model's own")
      ->type_name("FILE");
  app->add_option(
         "--template-variable", options->variables,
         "what the template shall know, e.g. enable_thinking=false or reasoning_effort=high; may be repeated")
      ->type_name("NAME=VALUE");
}

std::string ReadChatTemplate(const ChatOptions& options) {
  if (options.template_file.empty()) return {};
  std::string source = ReadTextFile(options.template_file);
  if (source.empty()) Fail(ErrorCode::kBadInput, "{}: the chat template is empty", options.template_file);
  return source;
}

nlohmann::ordered_json ChatVariables(const ChatOptions& options) {
  nlohmann::ordered_json variables = nlohmann::ordered_json::object();
  for (const std::string& text : options.variables) {
    const size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos)
      Fail(ErrorCode::kUsage, "--template-variable '{}' is not NAME=VALUE, such as enable_thinking=false",
           text);
    const std::string value = text.substr(equals + 1);
    auto parsed = nlohmann::ordered_json::parse(value, nullptr, /*allow_exceptions=*/false);
    variables[text.substr(0, equals)] =
        parsed.is_discarded() ? nlohmann::ordered_json(value) : std::move(parsed);
  }
  return variables;
}

}  // namespace onecopy::cli
