#include "runtime/serve/chat_prompt.h"

#include <functional>

#include "runtime/base/error.h"
#include "runtime/serve/structure.h"
#include "runtime/text/answer/forced_call.h"
#include "runtime/text/chat_messages.h"
#include "runtime/text/chat_template.h"

namespace onecopy::serve {
namespace {

bool HasTools(const ChatPrompt& prompt) {
  return prompt.tools.is_array() && !prompt.tools.empty() && prompt.calls != ChatPrompt::Calls::kNone;
}

const std::string& TemplateOf(const ApiContext& context, const ChatPrompt& prompt) {
  if (!context.template_source.empty()) return context.template_source;
  return text::ChooseChatTemplate(context.tokenizer, HasTools(prompt));
}

}  // namespace

std::vector<int32_t> TokensOf(const ApiContext& context, const ChatPrompt& prompt) {
  if (!prompt.tools.is_null()) {
    try {
      text::ToolSet tools(prompt.tools);
    } catch (const Error& error) {
      throw ApiError(400, error.what(), "tools");
    }
  }
  if (!prompt.messages.is_array() || prompt.messages.empty())
    throw ApiError(400, "messages: expected an array of at least one message", "messages");
  if (!prompt.variables.is_null() && !prompt.variables.is_object())
    throw ApiError(400, "chat_template_kwargs: expected an object", "chat_template_kwargs");
  text::ChatInput input;
  const std::string& source = TemplateOf(context, prompt);
  try {
    input.messages = text::NormalizeMessages(prompt.messages, text::MessageRulesOf(source));
  } catch (const Error& error) {
    throw ApiError(400, error.what(), "messages");
  }
  if (HasTools(prompt)) input.tools = prompt.tools;
  input.variables = context.template_variables;
  if (prompt.variables.is_object()) {
    if (!input.variables.is_object()) input.variables = Json::object();
    input.variables.update(prompt.variables);
  }
  input.add_generation_prompt = prompt.add_generation_prompt;
  return text::EncodeChat(context.tokenizer,
                          text::RenderChat(context.renderer, context.tokenizer, input, source));
}

void SetToolChoice(const Json& choice, ChatPrompt* prompt) {
  if (choice.is_null() || choice == "auto") return;
  if (choice == "none") {
    prompt->calls = ChatPrompt::Calls::kNone;
    return;
  }
  prompt->calls = ChatPrompt::Calls::kRequired;
  if (choice == "required") return;
  const Json function = choice.is_object() ? choice.value("function", Json()) : Json();
  if (!function.is_object() || !function.contains("name") || !function["name"].is_string())
    throw ApiError(400, "tool_choice: expected none, auto, required or a function by its name",
                   "tool_choice");
  prompt->function = function["name"];
}

void SetPrompt(const ApiContext& context, const ChatPrompt& prompt, Generation* generation) {
  generation->prompts = {TokensOf(context, prompt)};
  ChoiceOptions& choice = generation->choice;
  choice.format = text::ChooseAnswerFormat(TemplateOf(context, prompt), context.tokenizer);
  choice.answer.in_thought = text::EndsInThought(*choice.format, context.tokenizer, generation->prompts[0]);
  choice.answer.seed = std::hash<std::string>()(NewId(""));
  if (HasTools(prompt)) choice.answer.tools = prompt.tools;
  if (prompt.calls != ChatPrompt::Calls::kRequired) return;
  std::optional<text::ForcedCall> forced;
  try {
    forced = text::ForceCall(*choice.format, text::ToolSet(prompt.tools), prompt.function,
                             choice.answer.in_thought);
  } catch (const Error& error) {
    throw ApiError(400, error.what(), "tool_choice");
  }
  if (!forced)
    throw ApiError(400, "tool_choice: this model's chat template has no form for calls of tools",
                   "tool_choice");
  if (generation->grammar != nullptr)
    throw ApiError(400, "tool_choice: a call that must come excludes a form of what is said", "tool_choice");
  if (forced->schema) generation->grammar = GrammarOfSchema(context, *forced->schema, "tools");
  if (!forced->grammar.empty()) generation->grammar = GrammarOfGbnf(context, forced->grammar, "tools");
  choice.forced = text::EncodeChat(context.tokenizer, forced->prefix);
  std::vector<int32_t>& tokens = generation->prompts[0];
  tokens.insert(tokens.end(), choice.forced.begin(), choice.forced.end());
}

}  // namespace onecopy::serve
