// Chat templates: a conversation to the text and the tokens that a model expects. The templates are Jinja programs that come
// with the models; runtime/jinja renders them. Source: Hugging Face transformers (apply_chat_template), whose text this is,
// character by character.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/jinja/renderer.h"
#include "runtime/text/tokenizer.h"

namespace onecopy::text {

struct ChatInput {
  nlohmann::ordered_json messages;  // an array of {"role", "content", …}
  nlohmann::ordered_json tools;     // an array of JSON schemas of functions; null: none
  bool add_generation_prompt = true;
  // What templates know beside: {"enable_thinking": false}; an object, or null.
  nlohmann::ordered_json variables;
  std::optional<int64_t> now;  // for templates that write today's date, seconds since 1970; the clock's
};

// The template that transformers would take: "tool_use" where there are tools and such a template, else "default".
// Errors: kUsage where the model has none, or only others, which are named.
const std::string& ChooseChatTemplate(const Tokenizer& tokenizer, bool has_tools);

// The text of a conversation. source: a template; empty: the model's.
// Errors: as ChooseChatTemplate and jinja::Renderer::Render; kBadInput where messages is not an array of objects,
// or empty.
std::string RenderChat(jinja::Renderer& renderer, const Tokenizer& tokenizer, const ChatInput& input,
                       const std::string& source = {});

// The tokens of such a text. Templates write BOS themselves, so nothing is added. Errors: as Tokenizer::Encode.
std::vector<int32_t> EncodeChat(const Tokenizer& tokenizer, std::string_view text);

}  // namespace onecopy::text
