#include "runtime/text/answer/tagged_reader.h"

#include <algorithm>
#include <functional>

namespace onecopy::text {

TaggedReader::TaggedReader(const AnswerFormat& format, const ToolSet& tools,
                           std::vector<std::string_view> control, bool in_thought, AnswerSink& sink)
    : format_(format),
      tools_(tools),
      context_{tools, format.verbatim_values},
      syntax_(tools.empty() ? nullptr : FindCallSyntax(format.calls)),
      control_(std::move(control)),
      sink_(sink) {
  if (in_thought) OpenThought();
}

std::vector<std::string_view> TaggedReader::Marks(const AnswerFormat& format) {
  std::vector<std::string_view> marks;
  for (const std::string& mark : {std::cref(format.thought_open), std::cref(format.thought_close),
                                  std::cref(format.said_open), std::cref(format.said_close)})
    if (!mark.empty()) marks.push_back(mark);
  if (const CallSyntax* syntax = FindCallSyntax(format.calls)) {
    marks.insert(marks.end(), syntax->begins.begin(), syntax->begins.end());
    marks.insert(marks.end(), syntax->inner.begin(), syntax->inner.end());
  }
  return marks;
}

void TaggedReader::Text(std::string_view text) {
  for (const char c : text) Byte(c);
}

void TaggedReader::Byte(char c) {
  switch (place_) {
    case Place::kContent:
      return ContentByte(c);
    case Place::kThought:
      return ThoughtByte(c);
    case Place::kArguments:
      return ArgumentsByte(c);
    case Place::kTail:
      return TailByte(c);
    default:
      return CallByte(c);
  }
}

void TaggedReader::ContentByte(char c) {
  std::vector<std::string_view> marks;
  const bool nothing = sink_.said_nothing();
  if (nothing && !format_.thought_open.empty()) {
    marks.push_back(format_.thought_open);
    marks.push_back(format_.thought_close);  // of an empty thought, which the prompt has begun
  }
  if (nothing && !said_open_ && !format_.said_open.empty()) marks.push_back(format_.said_open);
  if (said_open_) marks.push_back(format_.said_close);
  if (syntax_) marks.insert(marks.end(), syntax_->begins.begin(), syntax_->begins.end());
  std::erase_if(marks, [&](std::string_view mark) { return IsControl(mark); });
  std::string passed;
  const size_t found = marks_.Push(c, marks, &passed);
  if (syntax_ && syntax_->bare && !bare_tried_ && nothing && (passed == "{" || passed == "[")) {
    BeginCalls("");
    return Byte(c);
  }
  sink_.Content(passed);
  if (found != MarkScanner::kNone) Fire(marks[found]);
}

void TaggedReader::ThoughtByte(char c) {
  const std::string_view close = format_.thought_close;
  std::string passed;
  const size_t found = marks_.Push(c, std::span(&close, IsControl(close) ? 0 : 1), &passed);
  sink_.Thought(passed);
  if (found != MarkScanner::kNone) CloseThought();
}

// Does what a mark in content means, if anything.
void TaggedReader::Fire(std::string_view mark) {
  if (mark == format_.thought_open) {
    OpenThought();
  } else if (mark == format_.thought_close) {
    CloseThought();
  } else if (mark == format_.said_open) {
    said_open_ = true;
    sink_.BeginThought();  // line breaks around the mark are not part of what is said
    sink_.EndThought();
  } else if (mark == format_.said_close) {
    said_open_ = false;
    sink_.BeginThought();
    sink_.EndThought();
  } else if (IsBegin(mark)) {
    BeginCalls(mark);
  }
}

bool TaggedReader::IsBegin(std::string_view mark) const {
  return syntax_ && std::find(syntax_->begins.begin(), syntax_->begins.end(), mark) != syntax_->begins.end();
}

bool TaggedReader::IsControl(std::string_view mark) const {
  return std::find(control_.begin(), control_.end(), mark) != control_.end();
}

void TaggedReader::OpenThought() {
  place_ = Place::kThought;
  sink_.BeginThought();
}

void TaggedReader::CloseThought() {
  if (place_ != Place::kThought) sink_.BeginThought();
  sink_.EndThought();
  place_ = Place::kContent;
}

void TaggedReader::ReadAgain(const std::string& text) {
  for (const char c : text) Byte(c);
}

void TaggedReader::Mark(std::string_view mark) {
  switch (place_) {
    case Place::kThought:
      sink_.Thought(marks_.Flush());
      // A call inside of a thought whose end the model has forgotten ends it.
      if (mark == format_.thought_close || IsBegin(mark)) CloseThought();
      if (IsBegin(mark)) BeginCalls(mark);
      return;
    case Place::kContent:
      sink_.Content(marks_.Flush());
      return Fire(mark);
    default:
      return InterruptCall(mark);
  }
}

void TaggedReader::Finish() {
  if (place_ == Place::kTail) {
    // A mark that is cut short is not text. Other text is.
    const CallTail tail = head_.tail(call_);
    place_ = Place::kContent;
    if (tail.state == CallTail::State::kForeign) ReadAgain(TakeCallText());
  }
  if (place_ == Place::kThought) {
    sink_.Thought(marks_.Flush());
  } else {
    sink_.Content(TakeCallText());
    sink_.Content(marks_.Flush());
  }
  sink_.Finish();
}

}  // namespace onecopy::text
