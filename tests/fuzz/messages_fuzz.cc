// Messages and tools of a conversation, as clients send them, and the template whose text decides what becomes of them.
#include "runtime/text/answer/answer_format.h"
#include "runtime/text/answer/forced_call.h"
#include "runtime/text/chat_messages.h"
#include "runtime/text/json_scanner.h"
#include "tests/fuzz/support.h"
#include "tests/fuzz/vocabularies.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onecopy;        // NOLINT
  using namespace onecopy::fuzz;  // NOLINT
  using nlohmann::ordered_json;
  const std::vector<std::string_view> parts = Parts(View(data, size), 3);
  static const text::Tokenizer tokenizer = text::Tokenizer::FromGguf(ByteLevelMetadata("gpt-2", {}, {}));
  const Budget budget(2, (8 << 20) + 2000 * size);
  const text::MessageRules rules = text::MessageRulesOf(parts[0]);
  const text::AnswerFormat format = text::ChooseAnswerFormat(parts[0], tokenizer);
  if (const auto messages = text::ParseJson(parts[1]); messages && messages->is_array()) {
    ordered_json normal, again;
    if (Takes([&] { normal = text::NormalizeMessages(*messages, rules); }, {}, {ErrorCode::kUsage})) {
      Require(normal.is_array(), "messages are no array");
      for (const ordered_json& message : normal)
        Require(message.is_object() && message.contains("role"), "a message without a role: {}",
                message.dump(-1, ' ', true, ordered_json::error_handler_t::replace));
      // What a server has made itself it takes again.
      Require(Takes([&] { again = text::NormalizeMessages(normal, rules); }, {}, {ErrorCode::kUsage}),
              "messages that were made here are refused: {}",
              normal.dump(-1, ' ', true, ordered_json::error_handler_t::replace));
    }
  }
  if (const auto json = text::ParseJson(parts[2])) {
    text::ToolSet tools;
    if (!Takes([&] { tools = text::ToolSet(*json); }, {}, {ErrorCode::kUsage})) return 0;
    for (const std::string& name : tools.Names()) {
      Takes([&] { text::ForceCall(format, tools, name, false); }, {}, {ErrorCode::kUsage});
      for (const text::ToolParameter& parameter : tools.Parameters(name))
        for (const char* value : {"1", "{\"a\": 1}", "True", "null", "x"})
          tools.Value(name, parameter.name, value);
    }
  }
  return 0;
}
