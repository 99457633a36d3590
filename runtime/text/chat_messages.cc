#include "runtime/text/chat_messages.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"
#include "runtime/text/json_scanner.h"

namespace onecopy::text {
namespace {

using nlohmann::ordered_json;

bool Mentions(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

bool IsNonEmptyString(const ordered_json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_string() &&
         !object[key].get_ref<const std::string&>().empty();
}

// The text of one part of a list. where: "messages[2].content[0]".
std::string PartText(const ordered_json& part, const std::string& where) {
  const std::string type = IsNonEmptyString(part, "type") ? part["type"].get<std::string>() : "";
  if (type.empty())
    Fail(ErrorCode::kUsage, "{} is not an object with a type, such as {{\"type\": \"text\", \"text\": …}}",
         where);
  // What an assistant declined to say is also said.
  const char* key = type == "refusal" ? "refusal" : "text";
  if (type != "text" && type != "refusal")
    Fail(ErrorCode::kUsage, "{} is of type {}; only text is supported, not images, audio or files", where,
         Printable(type));
  if (!part.contains(key) || !part[key].is_string())
    Fail(ErrorCode::kUsage, "{} is of type {} but has no string {}", where, type, key);
  return part[key].get<std::string>();
}

// As a name that Mistral's templates take; the same for the same id. FNV-1a: Fowler, Noll, Vo (RFC draft eastlake-fnv).
std::string NineCharacters(const std::string& id) {
  const bool fits = id.size() == 9 && std::all_of(id.begin(), id.end(), [](char c) {
                      return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
                    });
  if (fits) return id;
  uint64_t hash = 0xCBF29CE484222325;
  for (const char c : id) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001B3;
  constexpr std::string_view kDigits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  std::string out;
  for (int i = 0; i < 9; ++i, hash /= kDigits.size()) out += kDigits[hash % kDigits.size()];
  return out;
}

// Results are looked for among this many messages before them.
constexpr size_t kMaxCallsBefore = 256;

class Normalizer {
 public:
  explicit Normalizer(const MessageRules& rules) : rules_(rules) {}

  void Add(const ordered_json& message, size_t index) {
    where_ = fmt::format("messages[{}]", index);
    if (!IsNonEmptyString(message, "role"))
      Fail(ErrorCode::kUsage, "{} is not an object with a role, such as user, and content", where_);
    ordered_json normal = message;
    std::string role = message["role"];
    const bool developer = role == "developer" && !rules_.developer_role;
    if (developer) role = "system";
    normal["role"] = role;
    normal["content"] = Content(message, role);
    if (role == "tool") NameResult(&normal);
    if (role == "assistant") {
      AddCalls(message, &normal);
      return AddAssistant(std::move(normal));
    }
    // Templates that refuse a second system message know no developer either.
    if (developer && !out_.empty() && out_.back()["role"] == "system") {
      out_.back()["content"].get_ref<std::string&>() += "\n\n" + normal["content"].get<std::string>();
      return;
    }
    if (role == "tool" && PlaceResult(normal)) return;
    out_.push_back(std::move(normal));
  }

  ordered_json Take() {
    ordered_json messages = ordered_json::array();
    for (ordered_json& message : out_) messages.push_back(std::move(message));
    return messages;
  }

 private:
  ordered_json Content(const ordered_json& message, const std::string& role) const {
    ordered_json content = message.value("content", ordered_json());
    if (content.is_string()) return content;
    if (content.is_null()) {
      if (role == "assistant" || role == "tool") return "";
      Fail(ErrorCode::kUsage, "{}.content is missing; a message of role {} needs it", where_,
           Printable(role));
    }
    if (!content.is_array())
      Fail(ErrorCode::kUsage, "{}.content is of type {}, expected a string or an array of parts", where_,
           content.type_name());
    ordered_json parts = ordered_json::array();
    std::string joined;
    for (size_t i = 0; i < content.size(); ++i) {
      const std::string text = PartText(content[i], fmt::format("{}.content[{}]", where_, i));
      parts.push_back({{"type", "text"}, {"text", text}});
      joined += text;
    }
    if (role == "user" && rules_.content_parts) return parts;
    return joined;
  }

  // Checks the calls of an assistant, and makes ids and arguments what the rules say.
  void AddCalls(const ordered_json& message, ordered_json* normal) {
    const ordered_json calls = message.value("tool_calls", ordered_json());
    normal->erase("tool_calls");
    if (calls.is_null() || (calls.is_array() && calls.empty())) return;
    if (!calls.is_array())
      Fail(ErrorCode::kUsage, "{}.tool_calls is of type {}, expected an array", where_, calls.type_name());
    ordered_json& out = (*normal)["tool_calls"] = ordered_json::array();
    for (size_t i = 0; i < calls.size(); ++i) {
      const ordered_json function =
          calls[i].is_object() ? calls[i].value("function", ordered_json()) : ordered_json();
      if (!IsNonEmptyString(function, "name"))
        Fail(ErrorCode::kUsage,
             "{}.tool_calls[{}] is not of the form {{\"id\", \"type\": \"function\", \"function\": "
             "{{\"name\", "
             "\"arguments\"}}}}",
             where_, i);
      ordered_json call = calls[i];
      std::string id = IsNonEmptyString(calls[i], "id") ? calls[i]["id"].get<std::string>()
                                                        : fmt::format("call_{}_{}", out_.size(), i);
      if (rules_.nine_character_ids) id = NineCharacters(id);
      names_[id] = function["name"];
      call["id"] = id;
      call["type"] = "function";
      call["function"]["arguments"] = Arguments(function.value("arguments", ordered_json()));
      out.push_back(std::move(call));
    }
  }

  ordered_json Arguments(const ordered_json& arguments) const {
    if (arguments.is_null()) return ordered_json::object();
    if (!arguments.is_string()) return arguments;
    const std::string text = arguments.get<std::string>();
    const bool blank = text.find_first_not_of(" \n\t\r") == std::string::npos;
    if (rules_.string_arguments) return blank ? "{}" : text;
    if (blank) return ordered_json::object();
    const std::optional<ordered_json> value = ParseJson(text);
    if (value && value->is_object()) return *value;
    return {{"arguments", text}};
  }

  void NameResult(ordered_json* message) const {
    if (!IsNonEmptyString(*message, "tool_call_id")) return;
    std::string id = (*message)["tool_call_id"];
    if (rules_.nine_character_ids) id = NineCharacters(id);
    (*message)["tool_call_id"] = id;
    const auto name = names_.find(id);
    if (name != names_.end() && !IsNonEmptyString(*message, "name")) (*message)["name"] = name->second;
  }

  void AddAssistant(ordered_json message) {
    const bool calls = message.contains("tool_calls");
    if (calls && rules_.thought_or_said) {
      for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
        if (!IsNonEmptyString(message, name) || !IsNonEmptyString(message, "content")) continue;
        // Such templates write what is said before a call as a thought.
        message[name] = message[name].get<std::string>() + "\n" + message["content"].get<std::string>();
        message["content"] = "";
      }
    }
    if (!calls || !rules_.one_call_a_message) {
      out_.push_back(std::move(message));
      return;
    }
    const ordered_json all = message["tool_calls"];
    for (size_t i = 0; i < all.size(); ++i) {
      message["tool_calls"] = ordered_json::array({all[i]});
      out_.push_back(std::move(message));
      message = {{"role", "assistant"}, {"content", ""}};
    }
  }

  // Where a message takes one call: the result goes behind the message of its call.
  bool PlaceResult(const ordered_json& result) {
    if (!rules_.one_call_a_message || !IsNonEmptyString(result, "tool_call_id")) return false;
    const size_t first = out_.size() - std::min(out_.size(), kMaxCallsBefore);
    for (size_t i = out_.size(); i > first; --i) {
      const ordered_json& before = out_[i - 1];
      const bool call = before.contains("tool_calls");
      if (!call && before["role"] != "tool") return false;
      if (!call || before["tool_calls"][0]["id"] != result["tool_call_id"]) continue;
      out_.insert(out_.begin() + static_cast<ptrdiff_t>(i), result);
      return true;
    }
    return false;
  }

  const MessageRules& rules_;
  std::string where_;
  std::vector<ordered_json> out_;
  std::map<std::string, std::string> names_;  // of functions, by the ids of their calls
};

}  // namespace

MessageRules MessageRulesOf(std::string_view chat_template) {
  const auto mentions = [&](std::string_view part) { return Mentions(chat_template, part); };
  MessageRules rules;
  // Or joins them to other text, which an object cannot be.
  rules.string_arguments = mentions("arguments is string") || mentions("'arguments'] is string") ||
                           mentions("'arguments'] + ") || mentions(".arguments + ");
  for (const char* sign :
       {".type == 'text'", ".type== 'text'", "['type'] == 'text'", "'text' in item", "content['text']"})
    rules.content_parts = rules.content_parts || mentions(sign);
  rules.developer_role = mentions("<|start|>developer");
  rules.nine_character_ids = mentions("length != 9");
  rules.one_call_a_message = mentions("max 1 tool call per message") || mentions("single tool-calls at once");
  rules.thought_or_said = mentions("Cannot pass both content and thinking");
  return rules;
}

ordered_json NormalizeMessages(const ordered_json& messages, const MessageRules& rules) {
  if (!messages.is_array())
    Fail(ErrorCode::kUsage, "messages is of type {}, expected an array", messages.type_name());
  if (messages.empty())
    Fail(ErrorCode::kUsage, "messages is empty; a conversation needs at least one message");
  Normalizer normalizer(rules);
  for (size_t i = 0; i < messages.size(); ++i) normalizer.Add(messages[i], i);
  return normalizer.Take();
}

}  // namespace onecopy::text
