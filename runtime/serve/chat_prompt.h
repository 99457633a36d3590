// A conversation as clients send it, in OpenAI's form, to the tokens of a prompt.
#pragma once

#include "runtime/serve/api.h"

namespace onecopy::serve {

struct ChatPrompt {
  enum class Calls { kAuto, kNone, kRequired };

  Json messages;               // an array of {"role", "content", …}
  Json tools;                  // null: none
  Calls calls = Calls::kAuto;  // kNone: the tools are not shown to the model
  std::string function;        // of kRequired: the one to call; empty: any
  Json variables;              // of the template, beside those of the server; an object, or null
  bool add_generation_prompt = true;
};

// Errors: ApiError 400 where the conversation is malformed; as text::RenderChat.
std::vector<int32_t> TokensOf(const ApiContext& context, const ChatPrompt& prompt);

// "tool_choice" of chat completions. Errors: ApiError.
void SetToolChoice(const Json& choice, ChatPrompt* prompt);

// The same as the one prompt of `generation`, with how its answers are to be read.
void SetPrompt(const ApiContext& context, const ChatPrompt& prompt, Generation* generation);

}  // namespace onecopy::serve
