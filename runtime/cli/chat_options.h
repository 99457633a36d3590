// Options about a model's chat template, for the commands that render one.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace onecopy::cli {

struct ChatOptions {
  std::string template_file;           // empty: the model's own template
  std::vector<std::string> variables;  // "NAME=VALUE"
};

void AddChatOptions(CLI::App* app, ChatOptions* options);

// The template's source; empty where the model's own is meant. Errors: kBadInput.
std::string ReadChatTemplate(const ChatOptions& options);

// {"NAME": VALUE}; a value that is no JSON is a text. Errors: kUsage where there is no name.
nlohmann::ordered_json ChatVariables(const ChatOptions& options);

}  // namespace onecopy::cli
