// Calls as tags that look like XML, with a value for each parameter that is quoted in no way. Sources: the chat templates of
// Qwen3-Coder, Qwen3.5, MiMo-V2-Flash, Seed-OSS, MiniMax-M2, DeepSeek-V3.2 and GLM-4.5 to 4.7.
#include "runtime/text/answer/call_syntax.h"
#include "runtime/text/json_scanner.h"

namespace onecopy::text {
namespace {

using nlohmann::ordered_json;
using HeadState = CallHead::State;
using TailState = CallTail::State;

struct XmlMarks {
  std::string_view begin, end;             // around all calls
  std::string_view call_open, call_close;  // the name follows call_open, up to a quote or '>'
  std::string_view value_open, value_close;
  bool lines;  // values stand on lines of their own, unless a template says otherwise
};

constexpr XmlMarks kQwenMarks = {"<tool_call>", "</tool_call>", "<function=", "</function>",
                                 "<parameter=", "</parameter>", true};
constexpr XmlMarks kSeedMarks = {"<seed:tool_call>", "</seed:tool_call>", "<function=", "</function>",
                                 "<parameter=",      "</parameter>",      true};
constexpr XmlMarks kMiniMaxMarks = {"<minimax:tool_call>",
                                    "</minimax:tool_call>",
                                    "<invoke name=\"",
                                    "</invoke>",
                                    "<parameter name=\"",
                                    "</parameter>",
                                    false};
constexpr XmlMarks kDsmlMarks = {"<｜DSML｜function_calls>",
                                 "</｜DSML｜function_calls>",
                                 "<｜DSML｜invoke name=\"",
                                 "</｜DSML｜invoke>",
                                 "<｜DSML｜parameter name=\"",
                                 "</｜DSML｜parameter>",
                                 false};
// Models forget the outer mark now and then.
constexpr std::string_view kQwenBegins[] = {kQwenMarks.begin, kQwenMarks.call_open};
constexpr std::string_view kSeedBegins[] = {kSeedMarks.begin, kSeedMarks.call_open};
constexpr std::string_view kMiniMaxBegins[] = {kMiniMaxMarks.begin};
constexpr std::string_view kDsmlBegins[] = {kDsmlMarks.begin};
constexpr std::string_view kXmlInner[] = {kQwenMarks.end, kSeedMarks.end, kMiniMaxMarks.end, kDsmlMarks.end};

constexpr std::string_view kGlmBegins[] = {"<tool_call>"};
constexpr std::string_view kGlmEnd = "</tool_call>";
constexpr std::string_view kGlmKey = "<arg_key>", kGlmKeyEnd = "</arg_key>", kGlmValue = "<arg_value>",
                           kGlmValueEnd = "</arg_value>";
constexpr std::string_view kGlmInner[] = {kGlmEnd, kGlmKey, kGlmKeyEnd, kGlmValue, kGlmValueEnd};

// Values of a call, of which a hostile one may have very many.
constexpr size_t kMaxParameters = 1024;

// The end of a value: the first `close` after which one of `next` follows, since a value may have such marks in it. *text is
// what follows it. None: there is no such yet.
std::optional<std::string_view> TakeValue(std::string_view* text, std::string_view close,
                                          std::initializer_list<std::string_view> next) {
  for (size_t at = text->find(close); at != std::string_view::npos; at = text->find(close, at + 1)) {
    const std::string_view rest = SkipSpace(text->substr(at + close.size()));
    for (const std::string_view mark : next) {
      if (!rest.starts_with(mark)) continue;
      const std::string_view value = text->substr(0, at);
      *text = rest;
      return value;
    }
  }
  return std::nullopt;
}

// The name or key of a tag, and the rest of the tag, its '>' included, off *text.
Match TakeTag(std::string_view* text, std::string* name, std::string_view* attributes) {
  const size_t end = text->find('>');
  if (end == std::string_view::npos) return Match::kMore;
  const std::string_view tag = text->substr(0, end);
  const size_t name_end = std::min(tag.find('"'), tag.size());
  *name = tag.substr(0, name_end);
  *attributes = tag.substr(name_end);
  text->remove_prefix(end + 1);
  return Match::kYes;
}

Match TakeXmlHead(const XmlMarks& marks, std::string_view* text, std::string* name) {
  if (TakePart(text, marks.begin) == Match::kMore) return Match::kMore;
  *text = SkipSpace(*text);
  const Match open = TakePart(text, marks.call_open);
  if (open != Match::kYes) return open;
  std::string_view attributes;
  const Match tag = TakeTag(text, name, &attributes);
  if (tag == Match::kYes && !IsFunctionName(*name)) return Match::kNo;
  return tag;
}

std::string_view WithoutLineBreaks(std::string_view value) {
  if (value.starts_with('\n')) value.remove_prefix(1);
  if (value.ends_with('\n')) value.remove_suffix(1);
  return value;
}

template <const XmlMarks& kMarks>
CallTail XmlTail(std::string_view text) {
  text = SkipSpace(text);
  std::string_view rest = text;
  const Match next = TakePart(&rest, kMarks.call_open), end = TakePart(&rest, kMarks.end);
  if (next == Match::kYes) return {TailState::kNext, text.size()};
  if (end == Match::kYes) return {TailState::kEnd};
  const bool more = next == Match::kMore || end == Match::kMore;
  return {more ? TailState::kMore : TailState::kForeign, text.size()};
}

template <const XmlMarks& kMarks>
CallHead XmlHead(const SyntaxContext&, std::string_view text) {
  CallHead head;
  head.tail = XmlTail<kMarks>;
  switch (TakeXmlHead(kMarks, &text, &head.name)) {
    case Match::kMore:
      head.state = HeadState::kMore;
      break;
    case Match::kNo:
      break;
    case Match::kYes:
      head.state = HeadState::kBody;
      break;
  }
  return head;
}

template <const XmlMarks& kMarks>
std::optional<ParsedCall> XmlBody(const SyntaxContext& context, std::string_view text, bool* more) {
  ParsedCall call;
  if (TakeXmlHead(kMarks, &text, &call.name) != Match::kYes) return std::nullopt;
  ordered_json arguments = ordered_json::object();
  for (size_t n = 0; n <= kMaxParameters; ++n) {
    text = SkipSpace(text);
    if (text == kMarks.call_close) {
      call.arguments = arguments.dump();
      return call;
    }
    std::string key;
    std::string_view attributes;
    if (TakePart(&text, kMarks.value_open) != Match::kYes || TakeTag(&text, &key, &attributes) != Match::kYes)
      return std::nullopt;
    std::optional<std::string_view> value =
        TakeValue(&text, kMarks.value_close, {kMarks.value_open, kMarks.call_close});
    if (!value) {
      *more = true;
      return std::nullopt;
    }
    if (kMarks.lines && !context.verbatim_values) value = WithoutLineBreaks(*value);
    if (attributes.find("string=\"true\"") != std::string_view::npos) {
      arguments[key] = std::string(*value);
    } else {
      arguments[key] = context.tools.Value(call.name, key, *value);
    }
  }
  return std::nullopt;
}

template <const XmlMarks& kMarks>
constexpr CallSyntax XmlSyntax(CallSyntaxKind kind, std::span<const std::string_view> begins) {
  return {kind, begins, false, XmlHead<kMarks>, kMarks.call_close, XmlBody<kMarks>, kXmlInner};
}

// The name stands alone on its line, or directly before the first key.
Match TakeGlmHead(std::string_view* text, std::string* name) {
  const Match mark = TakePart(text, kGlmBegins[0]);
  if (mark != Match::kYes) return mark;
  *text = SkipSpace(*text);
  const size_t end = text->find_first_of("< \n\t\r");
  *name = text->substr(0, end);
  if (!name->empty() && !IsFunctionName(*name)) return Match::kNo;
  if (end == std::string_view::npos) return Match::kMore;
  if (name->empty()) return Match::kNo;
  *text = SkipSpace(text->substr(end));
  std::string_view rest = *text;
  const Match key = TakePart(&rest, kGlmKey), close = TakePart(&rest, kGlmEnd);
  if (key == Match::kYes || close == Match::kYes) return Match::kYes;
  return key == Match::kMore || close == Match::kMore ? Match::kMore : Match::kNo;
}

CallHead GlmHead(const SyntaxContext&, std::string_view text) {
  CallHead head;
  switch (TakeGlmHead(&text, &head.name)) {
    case Match::kMore:
      head.state = HeadState::kMore;
      break;
    case Match::kNo:
      break;
    case Match::kYes:
      head.state = HeadState::kBody;
      break;
  }
  return head;
}

std::optional<ParsedCall> GlmBody(const SyntaxContext& context, std::string_view text, bool* more) {
  ParsedCall call;
  if (TakeGlmHead(&text, &call.name) != Match::kYes) return std::nullopt;
  ordered_json arguments = ordered_json::object();
  for (size_t n = 0; n <= kMaxParameters; ++n) {
    text = SkipSpace(text);
    if (text == kGlmEnd) {
      call.arguments = arguments.dump();
      return call;
    }
    if (TakePart(&text, kGlmKey) != Match::kYes) return std::nullopt;
    const std::optional<std::string_view> key = TakeValue(&text, kGlmKeyEnd, {kGlmValue});
    if (!key) return std::nullopt;
    TakePart(&text, kGlmValue);
    const std::optional<std::string_view> value = TakeValue(&text, kGlmValueEnd, {kGlmKey, kGlmEnd});
    if (!value) {
      *more = true;
      return std::nullopt;
    }
    arguments[std::string(*key)] = context.tools.Value(call.name, *key, *value);
  }
  return std::nullopt;
}

}  // namespace

const CallSyntax kQwenXmlCalls = XmlSyntax<kQwenMarks>(CallSyntaxKind::kQwenXml, kQwenBegins);
const CallSyntax kSeedXmlCalls = XmlSyntax<kSeedMarks>(CallSyntaxKind::kSeedXml, kSeedBegins);
const CallSyntax kMiniMaxCalls = XmlSyntax<kMiniMaxMarks>(CallSyntaxKind::kMiniMax, kMiniMaxBegins);
const CallSyntax kDsmlCalls = XmlSyntax<kDsmlMarks>(CallSyntaxKind::kDsml, kDsmlBegins);
const CallSyntax kGlmCalls = {CallSyntaxKind::kGlm, kGlmBegins, false, GlmHead, kGlmEnd, GlmBody, kGlmInner};

}  // namespace onecopy::text
