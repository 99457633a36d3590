#include "runtime/serve/chat_prompt.h"

#include "runtime/text/chat_template.h"

namespace onecopy::serve {
namespace {

// Content may come in parts, of which texts are understood.
Json PlainMessages(const Json& messages) {
  Json plain = Json::array();
  for (const Json& message : messages) {
    if (!message.is_object() || !message.contains("role") || !message["role"].is_string())
      throw ApiError(400, "messages: expected objects with a role", "messages");
    Json copy = message;
    if (const auto content = message.find("content"); content != message.end() && content->is_array()) {
      std::string text;
      for (const Json& part : *content) {
        const std::string type = part.is_object() ? part.value("type", "") : "";
        if (type != "text" || !part.contains("text") || !part["text"].is_string())
          throw ApiError(400,
                         fmt::format("messages: content of type \"{}\" is not supported, only text is", type),
                         "messages");
        text += part["text"].get<std::string>();
      }
      copy["content"] = text;
    } else if (content == message.end() || content->is_null()) {
      copy["content"] = "";
    } else if (!content->is_string()) {
      throw ApiError(400, "messages: content is neither a text nor an array of parts", "messages");
    }
    if (copy["role"] == "developer") copy["role"] = "system";
    plain.push_back(std::move(copy));
  }
  return plain;
}

}  // namespace

std::vector<int32_t> TokensOf(const ApiContext& context, const ChatPrompt& prompt) {
  if (!prompt.messages.is_array() || prompt.messages.empty())
    throw ApiError(400, "messages: expected an array of at least one message", "messages");
  if (!prompt.variables.is_null() && !prompt.variables.is_object())
    throw ApiError(400, "chat_template_kwargs: expected an object", "chat_template_kwargs");
  text::ChatInput input;
  input.messages = PlainMessages(prompt.messages);
  input.tools = prompt.tools;
  input.variables = context.template_variables;
  if (prompt.variables.is_object()) {
    if (!input.variables.is_object()) input.variables = Json::object();
    input.variables.update(prompt.variables);
  }
  input.add_generation_prompt = prompt.add_generation_prompt;
  return text::EncodeChat(context.tokenizer, text::RenderChat(context.renderer, context.tokenizer, input,
                                                              context.template_source));
}

}  // namespace onecopy::serve
