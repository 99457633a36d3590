// A conversation as clients send it, in OpenAI's form, to the tokens of a prompt.
#pragma once

#include "runtime/serve/api.h"

namespace onecopy::serve {

struct ChatPrompt {
  Json messages;   // an array of {"role", "content", …}
  Json tools;      // null: none
  Json variables;  // of the template, beside those of the server; an object, or null
  bool add_generation_prompt = true;
};

// Errors: ApiError 400 where the conversation is malformed; as text::RenderChat.
std::vector<int32_t> TokensOf(const ApiContext& context, const ChatPrompt& prompt);

}  // namespace onecopy::serve
