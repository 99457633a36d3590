// Calls between marks of their own, with a header and then the arguments as JSON. Sources: the chat templates of DeepSeek-V3,
// R1 and V3.1, and Moonshot's tool call guidance for Kimi-K2.
#include "runtime/text/answer/call_syntax.h"

namespace onecopy::text {
namespace {

using HeadState = CallHead::State;
using TailState = CallTail::State;

struct SectionMarks {
  std::string_view begin, call_begin, separator, call_end, end;
};

constexpr SectionMarks kDeepSeekMarks = {"<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>",
                                         "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"};
constexpr SectionMarks kKimiMarks = {"<|tool_calls_section_begin|>", "<|tool_call_begin|>",
                                     "<|tool_call_argument_begin|>", "<|tool_call_end|>",
                                     "<|tool_calls_section_end|>"};
// Models forget the mark of the section now and then.
constexpr std::string_view kDeepSeekBegins[] = {kDeepSeekMarks.begin, kDeepSeekMarks.call_begin};
constexpr std::string_view kDeepSeekInner[] = {kDeepSeekMarks.separator, kDeepSeekMarks.call_end,
                                               kDeepSeekMarks.end};
constexpr std::string_view kKimiBegins[] = {kKimiMarks.begin, kKimiMarks.call_begin};
constexpr std::string_view kKimiInner[] = {kKimiMarks.separator, kKimiMarks.call_end, kKimiMarks.end};
constexpr std::string_view kFence = "```";

// Up to what follows the separator; *header: what stands before it.
Match TakeHeader(const SectionMarks& marks, std::string_view* text, std::string* header) {
  if (TakePart(text, marks.begin) == Match::kMore) return Match::kMore;
  *text = SkipSpace(*text);
  const Match call = TakePart(text, marks.call_begin);
  if (call != Match::kYes) return call;
  const size_t end = text->find(marks.separator);
  if (end == std::string_view::npos) return Match::kMore;
  *header = SkipSpace(text->substr(0, end));
  while (!header->empty() && SkipSpace(header->substr(header->size() - 1)).empty()) header->pop_back();
  text->remove_prefix(end + marks.separator.size());
  return Match::kYes;
}

CallTail SectionTail(const SectionMarks& marks, std::string_view text) {
  text = SkipSpace(text);
  if (text.starts_with('`')) {
    if (TakePart(&text, kFence) == Match::kMore) return {TailState::kMore};
    text = SkipSpace(text);
  }
  const Match end = TakePart(&text, marks.call_end);
  if (end == Match::kMore) return {TailState::kMore};
  if (end == Match::kNo) return {TailState::kForeign, text.size()};
  text = SkipSpace(text);
  std::string_view rest = text;
  const Match next = TakePart(&rest, marks.call_begin), last = TakePart(&rest, marks.end);
  if (next == Match::kYes) return {TailState::kNext, text.size()};
  if (last == Match::kYes) return {TailState::kEnd};
  const bool more = next == Match::kMore || last == Match::kMore;
  return {more ? TailState::kMore : TailState::kForeign, text.size()};
}

CallTail DeepSeekTail(std::string_view text) {
  return SectionTail(kDeepSeekMarks, text);
}

CallTail KimiTail(std::string_view text) {
  return SectionTail(kKimiMarks, text);
}

CallHead ArgumentsAt(std::string_view whole, std::string_view text, CallHead head) {
  text = SkipSpace(text);
  if (text.empty()) return {HeadState::kMore};
  if (text.front() != '{' || !IsFunctionName(head.name)) return {HeadState::kBad};
  head.state = HeadState::kArguments;
  head.offset = whole.size() - text.size();
  return head;
}

// V3.1: name<sep>{…}. V3 and R1: function<sep>name, a line break, and the arguments as a fenced block.
CallHead DeepSeekHead(const SyntaxContext&, std::string_view text) {
  const std::string_view whole = text;
  CallHead head;
  head.tail = DeepSeekTail;
  switch (TakeHeader(kDeepSeekMarks, &text, &head.name)) {
    case Match::kMore:
      return {HeadState::kMore};
    case Match::kNo:
      return {HeadState::kBad};
    case Match::kYes:
      break;
  }
  const std::string_view rest = SkipSpace(text);
  if (rest.empty()) return {HeadState::kMore};
  if (rest.front() == '{') return ArgumentsAt(whole, text, head);
  const size_t line_end = rest.find('\n');
  if (line_end == std::string_view::npos) return {HeadState::kMore};
  head.name = rest.substr(0, line_end);
  text = SkipSpace(rest.substr(line_end));
  for (const std::string_view part : {kFence, std::string_view("json")}) {
    const Match match = TakePart(&text, part);
    if (match != Match::kYes) return {match == Match::kMore ? HeadState::kMore : HeadState::kBad};
  }
  return ArgumentsAt(whole, text, head);
}

// functions.name:0, which is also the call's id.
CallHead KimiHead(const SyntaxContext&, std::string_view text) {
  const std::string_view whole = text;
  CallHead head;
  head.tail = KimiTail;
  switch (TakeHeader(kKimiMarks, &text, &head.id)) {
    case Match::kMore:
      return {HeadState::kMore};
    case Match::kNo:
      return {HeadState::kBad};
    case Match::kYes:
      break;
  }
  std::string_view name = head.id;
  TakePart(&name, "functions.");
  const size_t colon = name.rfind(':');
  if (colon != std::string_view::npos &&
      name.find_first_not_of("0123456789", colon + 1) == std::string_view::npos)
    name = name.substr(0, colon);
  head.name = name;
  return ArgumentsAt(whole, text, head);
}

}  // namespace

const CallSyntax kDeepSeekCalls = {
    CallSyntaxKind::kDeepSeek, kDeepSeekBegins, false, DeepSeekHead, {}, nullptr, kDeepSeekInner};
const CallSyntax kKimiCalls = {CallSyntaxKind::kKimi, kKimiBegins, false, KimiHead, {}, nullptr, kKimiInner};

}  // namespace onecopy::text
