#include "runtime/text/chat_template.h"

#include "runtime/base/error.h"
#include "runtime/base/printable.h"

namespace onecopy::text {
namespace {

void CheckMessages(const nlohmann::ordered_json& messages) {
  if (!messages.is_array())
    Fail(ErrorCode::kBadInput, "messages is a {}, expected an array of objects with role and content",
         messages.type_name());
  if (messages.empty())
    Fail(ErrorCode::kBadInput, "the conversation is empty; it needs at least one message");
  for (size_t i = 0; i < messages.size(); ++i) {
    const bool has_role =
        messages[i].is_object() && messages[i].contains("role") && messages[i]["role"].is_string();
    if (!has_role)
      Fail(ErrorCode::kBadInput, "messages[{}] is not an object with a role, such as user, and content", i);
  }
}

// As transformers gives a message to a template: without keys that are null, which clients write where templates look
// whether a key is there; and what a model thought, which is called reasoning_content, thinking or reasoning, by the
// first two of those names.
nlohmann::ordered_json Prepared(const nlohmann::ordered_json& message) {
  nlohmann::ordered_json prepared = nlohmann::ordered_json::object();
  for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
    if (!message.contains(name) || message[name].is_null()) continue;
    prepared["thinking"] = message[name];
    break;
  }
  const nlohmann::ordered_json reasoning = prepared.value("thinking", nlohmann::ordered_json());
  for (const auto& [key, value] : message.items())
    if (!value.is_null()) prepared[key] = value;
  if (!reasoning.is_null()) prepared["reasoning_content"] = reasoning;
  return prepared;
}

}  // namespace

const std::string& ChooseChatTemplate(const Tokenizer& tokenizer, bool has_tools) {
  if (has_tools)
    if (const std::string* source = tokenizer.FindChatTemplate("tool_use")) return *source;
  if (const std::string* source = tokenizer.FindChatTemplate("default")) return *source;
  std::string names;
  for (const auto& [name, source] : tokenizer.chat_templates())
    names += fmt::format("{}{}", names.empty() ? "" : ", ", Printable(name));
  if (names.empty())
    Fail(ErrorCode::kUsage,
         "this model has no chat template, so it was not trained to converse: use generate, or give a "
         "template with "
         "--chat-template FILE");
  Fail(
      ErrorCode::kUsage,
      "this model has chat templates named {}, and none is the default: write one to a file and give it with "
      "--chat-template FILE",
      names);
}

std::string RenderChat(jinja::Renderer& renderer, const Tokenizer& tokenizer, const ChatInput& input,
                       const std::string& source) {
  CheckMessages(input.messages);
  const bool has_tools = input.tools.is_array() && !input.tools.empty();
  jinja::Request request;
  request.source = source.empty() ? ChooseChatTemplate(tokenizer, has_tools) : source;
  request.now = input.now;
  // In transformers' order of precedence: variables of the caller hide those of the model.
  nlohmann::ordered_json& variables = request.variables;
  variables = nlohmann::ordered_json::object();
  for (const auto& [name, text] : tokenizer.named_tokens()) variables[name] = text;
  if (input.variables.is_object())
    for (const auto& [name, value] : input.variables.items()) variables[name] = value;
  variables["messages"] = nlohmann::ordered_json::array();
  for (const auto& message : input.messages) variables["messages"].push_back(Prepared(message));
  variables["tools"] = has_tools ? input.tools : nlohmann::ordered_json();
  if (!variables.contains("documents")) variables["documents"] = nullptr;
  variables["add_generation_prompt"] = input.add_generation_prompt;
  return renderer.Render(request);
}

std::vector<int32_t> EncodeChat(const Tokenizer& tokenizer, std::string_view text) {
  return tokenizer.Encode(text, {.add_special = false, .parse_special = true});
}

}  // namespace onecopy::text
