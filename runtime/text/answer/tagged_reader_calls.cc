// The part of TaggedReader that reads calls.
#include <algorithm>

#include "runtime/text/answer/tagged_reader.h"

namespace onecopy::text {
namespace {

// What a call may take before its arguments, and in all where it is read as a whole; more is text.
constexpr size_t kMaxHeadBytes = 1024;
constexpr size_t kMaxCallBytes = size_t{1} << 20;
constexpr size_t kMaxTailBytes = 256;
// Ends inside of one value; each is read from the beginning again.
constexpr size_t kMaxAttempts = 64;

}  // namespace

bool TaggedReader::IsInner(std::string_view mark) const {
  return std::find(syntax_->inner.begin(), syntax_->inner.end(), mark) != syntax_->inner.end();
}

void TaggedReader::BeginCalls(std::string_view mark) {
  call_.clear();
  control_spans_.clear();
  if (IsControl(mark)) {
    AppendMark(mark);
  } else {
    call_ = mark;
  }
  begin_size_ = mark.size();
  place_ = Place::kHead;
  if (!mark.empty()) ApplyHead();
}

void TaggedReader::CallByte(char c) {
  call_ += c;
  if (place_ == Place::kHead) return ApplyHead();
  if (call_.size() > kMaxCallBytes) return Reject();
  if (place_ == Place::kBody) return BodyByte();
  CollectedByte(c);
}

void TaggedReader::ApplyHead() {
  head_ = syntax_->head(context_, call_);
  if (head_.state == CallHead::State::kMore && call_.size() > kMaxHeadBytes)
    head_.state = CallHead::State::kBad;
  // Without marks around it, only a call of a function that there is is one.
  const bool foreign = syntax_->bare && head_.state == CallHead::State::kArguments && !tools_.Has(head_.name);
  if (foreign) return Reject();
  switch (head_.state) {
    case CallHead::State::kMore:
      return;
    case CallHead::State::kBad:
      return Reject();
    case CallHead::State::kArguments:
      sink_.BeginCall(head_.name, head_.id);
      sink_.Arguments("{");
      arguments_.emplace(std::string_view(call_).substr(head_.offset));
      place_ = Place::kArguments;
      call_.clear();
      control_spans_.clear();
      return;
    case CallHead::State::kObject:
      return BeginCollecting(Place::kObject, head_.offset);
    case CallHead::State::kPython:
      return BeginCollecting(Place::kPython, head_.offset);
    case CallHead::State::kBody:
      place_ = Place::kBody;
      attempts_ = 0;
      return BodyByte();
  }
}

void TaggedReader::BeginCollecting(Place place, size_t offset) {
  place_ = place;
  offset_ = offset;
  object_ = {};
  brackets_ = {};
  // What the head has read already.
  const std::string text = call_.substr(offset);
  for (const char c : text)
    if (place_ == place) CollectedByte(c);
}

void TaggedReader::CollectedByte(char c) {
  if (place_ == Place::kPython) {
    if (!brackets_.Push(c)) return;
    const auto calls = ParsePythonCalls(std::string_view(call_).substr(offset_));
    const bool known = calls && std::all_of(calls->begin(), calls->end(),
                                            [&](const PythonCall& call) { return tools_.Has(call.name); });
    if (!known) return Reject();
    for (const PythonCall& call : *calls) Give({call.name, "", call.arguments.dump()});
    return AfterCall();
  }
  const JsonScanner::State state = object_.Push(c);
  if (state == JsonScanner::State::kMore) return;
  const std::optional<ParsedCall> call =
      state == JsonScanner::State::kDone ? ReadObject(std::string_view(call_).substr(offset_)) : std::nullopt;
  if (!call || (syntax_->bare && !tools_.Has(call->name))) return Reject();
  Give(*call);
  AfterCall();
}

void TaggedReader::BodyByte() {
  const std::string_view text = call_;
  const bool again = text.size() > begin_size_ && begin_size_ > 0 && text.ends_with(syntax_->begins[0]);
  if (!text.ends_with(syntax_->body_end) && !again) return;
  if (again) {
    const std::string_view begin = syntax_->begins[0];
    if (InsideOfValue(text.substr(0, text.size() - begin.size()))) return;
    call_.resize(call_.size() - begin.size());
    Reject();
    if (place_ != Place::kContent) return ReadAgain(std::string(begin));
    sink_.Content(marks_.Flush());
    return BeginCalls(begin);
  }
  bool more = false;
  const std::optional<ParsedCall> call = syntax_->body(context_, text, &more);
  if (!call) {
    if (!more || ++attempts_ >= kMaxAttempts) Reject();
    return;
  }
  Give(*call);
  AfterCall();
}

// Of the text of a call in which another begins: that mark is part of a value, or else this call has no end.
bool TaggedReader::InsideOfValue(std::string_view text) {
  bool more = false;
  syntax_->body(context_, text, &more);
  return more && ++attempts_ < kMaxAttempts;
}

void TaggedReader::Give(const ParsedCall& call) {
  sink_.BeginCall(call.name, call.id);
  sink_.Arguments(call.arguments);
}

void TaggedReader::ArgumentsByte(char c) {
  std::string arguments;
  const bool whole = arguments_->ended();
  const JsonScanner::State state = arguments_->Push(c, &arguments);
  sink_.Arguments(arguments);
  if (state == JsonScanner::State::kDone) return AfterCall();
  if (state == JsonScanner::State::kMore) return;
  // What was shown cannot be taken back: the call stays as far as it came, and what follows is text. Where only what is
  // around the arguments is wrong, such as a brace that is missing, the call is whole.
  if (whole) {
    AfterCall();
  } else {
    place_ = Place::kContent;
  }
  Byte(c);
}

void TaggedReader::AfterCall() {
  call_.clear();
  control_spans_.clear();
  place_ = head_.tail ? Place::kTail : Place::kContent;
}

void TaggedReader::TailByte(char c) {
  call_ += c;
  ApplyTail();
}

void TaggedReader::ApplyTail() {
  CallTail tail = head_.tail(call_);
  if (tail.state == CallTail::State::kMore) {
    if (call_.size() <= kMaxTailBytes) return;
    tail = {CallTail::State::kForeign, call_.size()};
  }
  const size_t dropped = call_.size() - std::min(tail.keep, call_.size());
  call_.erase(0, dropped);
  std::erase_if(control_spans_, [&](const auto& span) { return span.first < dropped; });
  for (auto& [offset, size] : control_spans_) offset -= dropped;
  if (tail.state == CallTail::State::kNext) {
    begin_size_ = 0;
    place_ = Place::kHead;
    return ApplyHead();
  }
  place_ = Place::kContent;
  const std::string rest = TakeCallText();
  if (tail.state == CallTail::State::kForeign) ReadAgain(rest);
}

void TaggedReader::AppendMark(std::string_view mark) {
  control_spans_.push_back({call_.size(), mark.size()});
  call_ += mark;
}

// Without the control tokens, which are not text.
std::string TaggedReader::TakeCallText() {
  std::string text;
  text.swap(call_);
  for (; !control_spans_.empty(); control_spans_.pop_back()) {
    const auto [offset, size] = control_spans_.back();
    if (offset < text.size()) text.erase(offset, size);
  }
  return text;
}

// The text of the call is no call: its mark is text, and what follows it is read again.
void TaggedReader::Reject() {
  const bool control = !control_spans_.empty() && control_spans_.front().first == 0;
  const std::string text = TakeCallText();
  place_ = Place::kContent;
  bare_tried_ = true;
  size_t given = control ? 0 : std::max<size_t>(begin_size_, 1);
  if (text.size() > kMaxHeadBytes) given = text.size();
  given = std::min(given, text.size());
  sink_.Content(std::string_view(text).substr(0, given));
  ReadAgain(text.substr(given));
}

// A control token where a call is being read: part of it, or the end of a malformed one.
void TaggedReader::InterruptCall(std::string_view mark) {
  const auto with = [&] { return call_ + std::string(mark); };
  switch (place_) {
    case Place::kHead:
      if (syntax_->head(context_, with()).state != CallHead::State::kBad) {
        AppendMark(mark);
        return ApplyHead();
      }
      Reject();
      break;
    case Place::kTail: {
      if (head_.tail(with()).state != CallTail::State::kForeign) {
        AppendMark(mark);
        return ApplyTail();
      }
      place_ = Place::kContent;
      ReadAgain(TakeCallText());
      break;
    }
    case Place::kBody:
      if (call_.size() > kMaxCallBytes || (IsBegin(mark) && !InsideOfValue(call_))) {
        Reject();
        break;
      }
      AppendMark(mark);
      return BodyByte();
    case Place::kArguments:
      // A string may be about marks, but what ends a call ends it.
      if (arguments_->in_string() && !IsInner(mark)) return Text(mark);
      place_ = Place::kContent;
      if (arguments_->ended()) AfterCall();
      break;
    default:
      Reject();
  }
  Mark(mark);
}

}  // namespace onecopy::text
