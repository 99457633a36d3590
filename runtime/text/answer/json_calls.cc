// Calls that are JSON objects with a name and arguments. Sources: Qwen's and NousResearch's function calling formats, the
// chat templates of Granite 3 and 4, Mistral's documentation of its tokenizer versions 3, 11 and 13, Meta's prompt formats of
// Llama 3.1 and 4.
#include "runtime/text/answer/call_syntax.h"
#include "runtime/text/json_scanner.h"

namespace onecopy::text {
namespace {

using nlohmann::ordered_json;
using HeadState = CallHead::State;
using TailState = CallTail::State;

constexpr std::string_view kHermesBegins[] = {"<tool_call>"};
constexpr std::string_view kHermesEnd = "</tool_call>";
constexpr std::string_view kHermesInner[] = {kHermesEnd};
constexpr std::string_view kGraniteBegins[] = {"<|tool_call|>"};
constexpr std::string_view kMistralBegins[] = {"[TOOL_CALLS]"};
constexpr std::string_view kMistralId = "[CALL_ID]", kMistralArguments = "[ARGS]";
constexpr std::string_view kMistralInner[] = {kMistralId, kMistralArguments};
constexpr std::string_view kLlamaBegins[] = {"<|python_tag|>", "<|python_start|>"};
constexpr std::string_view kLlamaEnd = "<|python_end|>";
constexpr std::string_view kLlamaInner[] = {kLlamaEnd};

// A string without escapes, as names are; text begins after its quote. Removes it and the closing quote.
Match TakeString(std::string_view* text, std::string* out) {
  const size_t end = text->find_first_of("\"\\");
  if (end == std::string_view::npos) return Match::kMore;
  if ((*text)[end] == '\\') return Match::kNo;
  *out = text->substr(0, end);
  text->remove_prefix(end + 1);
  return Match::kYes;
}

// Of an object that stands at the end of text, which is `whole` from its mark on.
CallHead ObjectAt(std::string_view whole, std::string_view object, TailFunction tail) {
  CallHead head = ReadObjectHead(object);
  head.offset = whole.size() - object.size();
  head.tail = tail;
  return head;
}

CallTail HermesTail(std::string_view text) {
  text = SkipSpace(text);
  // Some models write several objects between two marks.
  if (text.starts_with('{')) return {TailState::kNext, text.size()};
  switch (TakePart(&text, kHermesEnd)) {
    case Match::kYes:
      return {TailState::kEnd};
    case Match::kMore:
      return {TailState::kMore};
    default:
      return {TailState::kForeign, text.size()};
  }
}

CallHead HermesHead(const SyntaxContext&, std::string_view text) {
  const std::string_view whole = text;
  TakePart(&text, kHermesBegins[0]);
  text = SkipSpace(text);
  if (text.empty()) return {HeadState::kMore};
  return ObjectAt(whole, text, HermesTail);
}

CallTail ListTail(std::string_view text) {
  text = SkipSpace(text);
  if (text.empty()) return {TailState::kMore};
  if (text.front() == ']') return {TailState::kEnd};
  if (text.front() != ',') return {TailState::kForeign, text.size()};
  const std::string_view next = SkipSpace(text.substr(1));
  if (next.empty()) return {TailState::kMore};
  if (next.front() == '{') return {TailState::kNext, next.size()};
  return {TailState::kForeign, text.size()};
}

// Of a list or of one object; text: without the mark.
CallHead ListHead(std::string_view whole, std::string_view text, bool first) {
  text = SkipSpace(text);
  const bool list = first && text.starts_with('[');
  if (list) text = SkipSpace(text.substr(1));
  if (text.empty()) return {HeadState::kMore};
  return ObjectAt(whole, text, list || !first ? ListTail : nullptr);
}

CallHead GraniteHead(const SyntaxContext&, std::string_view text) {
  const std::string_view whole = text;
  const bool first = TakePart(&text, kGraniteBegins[0]) == Match::kYes;
  return ListHead(whole, text, first);
}

// name[ARGS]{…}, name[CALL_ID]id[ARGS]{…}, or name{…}.
CallHead MistralNamedHead(std::string_view whole, std::string_view text) {
  CallHead head;
  const size_t name_end = text.find_first_of("[{ \n");
  head.name = text.substr(0, name_end);
  if (!IsFunctionName(head.name)) return {HeadState::kBad};
  if (name_end == std::string_view::npos) return {HeadState::kMore};
  text = SkipSpace(text.substr(name_end));
  if (text.starts_with('[')) {
    const Match id = TakePart(&text, kMistralId);
    if (id == Match::kMore) return {HeadState::kMore};
    if (id == Match::kYes) {
      const size_t id_end = text.find_first_of("[{");
      if (id_end == std::string_view::npos) return {HeadState::kMore};
      head.id = text.substr(0, id_end);
      if (!IsFunctionName(head.id)) return {HeadState::kBad};
      text.remove_prefix(id_end);
    }
    const Match arguments = TakePart(&text, kMistralArguments);
    if (arguments != Match::kYes) return {arguments == Match::kMore ? HeadState::kMore : HeadState::kBad};
    text = SkipSpace(text);
  }
  if (text.empty()) return {HeadState::kMore};
  head.state = text.front() == '{' ? HeadState::kArguments : HeadState::kBad;
  head.offset = whole.size() - text.size();
  return head;
}

CallHead MistralHead(const SyntaxContext&, std::string_view text) {
  const std::string_view whole = text;
  const bool first = TakePart(&text, kMistralBegins[0]) == Match::kYes;
  const std::string_view rest = SkipSpace(text);
  if (rest.empty()) return {HeadState::kMore};
  if (!first || rest.front() == '[' || rest.front() == '{') return ListHead(whole, text, first);
  return MistralNamedHead(whole, rest);
}

CallTail LlamaTail(std::string_view text) {
  text = SkipSpace(text);
  if (text.empty()) return {TailState::kMore};
  const bool separated = text.front() == ';' || text.front() == ',';
  const std::string_view next = separated ? SkipSpace(text.substr(1)) : text;
  if (separated && next.empty()) return {TailState::kMore};
  if (next.front() == '{') return {TailState::kNext, next.size()};
  std::string_view end = text;
  switch (TakePart(&end, kLlamaEnd)) {
    case Match::kYes:
      return {TailState::kEnd};
    case Match::kMore:
      return {TailState::kMore};
    default:
      return {TailState::kForeign, text.size()};
  }
}

CallHead LlamaHead(const SyntaxContext& context, std::string_view text) {
  const std::string_view whole = text;
  for (const std::string_view mark : kLlamaBegins) TakePart(&text, mark);
  text = SkipSpace(text);
  if (text.empty()) return {HeadState::kMore};
  if (text.front() == '{') return ObjectAt(whole, text, LlamaTail);
  if (text.front() != '[') return {HeadState::kBad};
  CallHead head{HeadState::kPython};
  head.offset = whole.size() - text.size();
  head.tail = LlamaTail;
  // A list of something else is an answer, which is not held back: the first function must be one of the tools.
  text = SkipSpace(text.substr(1));
  const size_t name_end = text.find('(');
  const std::string_view name = text.substr(0, name_end);
  if (!name.empty() && !IsFunctionName(name)) return {HeadState::kBad};
  if (name_end == std::string_view::npos) return {HeadState::kMore};
  return context.tools.Has(name) ? head : CallHead{HeadState::kBad};
}

}  // namespace

CallHead ReadObjectHead(std::string_view text) {
  CallHead head;
  if (text.front() != '{') return head;
  head.state = HeadState::kMore;
  text.remove_prefix(1);
  while (true) {
    text = SkipSpace(text);
    if (text.empty()) return head;
    if (text.front() == '}') {
      head.state = HeadState::kObject;
      return head;
    }
    if (text.front() != '"') return {HeadState::kBad};
    text.remove_prefix(1);
    std::string key;
    Match match = TakeString(&text, &key);
    const bool is_name = key == "name", is_arguments = key == "arguments" || key == "parameters";
    if (match == Match::kNo ||
        (match == Match::kYes && !is_name && !is_arguments && key != "id" && key != "type"))
      return {HeadState::kBad};
    text = SkipSpace(text);
    if (match == Match::kMore || text.empty()) return head;
    if (text.front() != ':') return {HeadState::kBad};
    text = SkipSpace(text.substr(1));
    if (text.empty()) return head;
    if (is_arguments) {
      // Those that come before the name, or in another form, are read when the object is whole.
      const bool known = text.front() == '{' && IsFunctionName(head.name);
      head.state = known ? HeadState::kArguments : HeadState::kObject;
      return head;
    }
    if (text.front() != '"') return {HeadState::kBad};
    text.remove_prefix(1);
    std::string value;
    match = TakeString(&text, &value);
    if (match == Match::kNo || (match == Match::kYes && is_name && !IsFunctionName(value)))
      return {HeadState::kBad};
    if (is_name) head.name = value;
    text = SkipSpace(text);
    if (match == Match::kMore || text.empty()) return head;
    if (text.front() == ',') {
      text.remove_prefix(1);
    } else if (text.front() != '}') {
      return {HeadState::kBad};
    }
  }
}

std::optional<ParsedCall> ReadObject(std::string_view text) {
  const std::optional<ordered_json> object = ParseJson(text);
  if (!object || !object->is_object() || !object->contains("name") || !(*object)["name"].is_string())
    return std::nullopt;
  ParsedCall call{(*object)["name"].get<std::string>(), "", "{}"};
  if (!IsFunctionName(call.name)) return std::nullopt;
  for (const char* key : {"arguments", "parameters"}) {
    if (!object->contains(key)) continue;
    ordered_json arguments = (*object)[key];
    // Some models quote them once more.
    if (arguments.is_string()) {
      const std::string quoted = arguments.get<std::string>();
      arguments = quoted.empty() ? ordered_json() : ParseJson(quoted).value_or(ordered_json(quoted));
    }
    if (arguments.is_null()) continue;
    if (!arguments.is_object()) return std::nullopt;
    call.arguments = arguments.dump();
    break;
  }
  return call;
}

const CallSyntax kHermesCalls = {
    CallSyntaxKind::kHermes, kHermesBegins, false, HermesHead, {}, nullptr, kHermesInner};
const CallSyntax kGraniteCalls = {CallSyntaxKind::kGranite, kGraniteBegins, false, GraniteHead};
const CallSyntax kMistralCalls = {
    CallSyntaxKind::kMistral, kMistralBegins, false, MistralHead, {}, nullptr, kMistralInner};
const CallSyntax kLlamaCalls = {
    CallSyntaxKind::kLlama, kLlamaBegins, true, LlamaHead, {}, nullptr, kLlamaInner};

}  // namespace onecopy::text
