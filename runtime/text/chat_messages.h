// Messages as clients of OpenAI's API send them, made into what a chat template can take. Pure functions. Source: OpenAI's
// chat completions; the published chat templates in tests/data.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>

namespace onecopy::text {

// What the text of a chat template shows about the messages that it takes.
struct MessageRules {
  // Arguments of calls may be text, which then stands as the model wrote it, so that its tokens are found in a cache. Else they
  // must be objects.
  bool string_arguments = false;
  bool content_parts = false;       // a user's content may be a list of parts
  bool developer_role = false;      // knows it as a role of its own; else it is a system message
  bool nine_character_ids = false;  // refuses calls whose id is not nine letters and digits
  bool one_call_a_message = false;  // takes one call of a message, and its result after it
  bool thought_or_said = false;     // refuses a message with a call, a thought and content
};
MessageRules MessageRulesOf(std::string_view chat_template);

// messages: an array of {"role", "content", …}. In the result
// - content is text: parts that are text are joined, as most templates do it, but for a user's where the template takes parts;
//   null and missing content of an assistant or a tool is empty.
// - arguments of calls are as the rules say. Text that is no JSON object, which models write and clients send back, becomes the
//   member "arguments" of one where the template needs an object; an empty text is no arguments.
// - results of tools have the name of the function that their tool_call_id belongs to.
// - ids, roles and numbers of calls are as the rules say. An assistant's empty tool_calls are gone.
// Other members stay as they are; whoever parsed them has limited how deeply they are nested (json_scanner.h).
// Errors: kUsage, which names the message: for what is not of OpenAI's form, and for images, audio and files.
nlohmann::ordered_json NormalizeMessages(const nlohmann::ordered_json& messages, const MessageRules& rules);

}  // namespace onecopy::text
