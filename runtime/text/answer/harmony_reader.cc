#include "runtime/text/answer/harmony_reader.h"

#include <algorithm>

namespace onecopy::text {
namespace {

constexpr std::string_view kStart = "<|start|>", kEnd = "<|end|>", kReturn = "<|return|>", kCall = "<|call|>",
                           kChannel = "<|channel|>", kConstrain = "<|constrain|>", kMessage = "<|message|>";
constexpr std::string_view kHarmonyMarks[] = {kStart, kEnd, kReturn, kCall, kChannel, kConstrain, kMessage};
// Headers say little; more of one is not looked at.
constexpr size_t kMaxHeaderBytes = 1024;

// What follows `key` in a header, up to white space or a mark; empty: nothing.
std::string_view AfterKey(std::string_view header, std::string_view key) {
  const size_t at = header.rfind(key);
  if (at == std::string_view::npos) return {};
  header.remove_prefix(at + key.size());
  return header.substr(0, header.find_first_of(" \n\t<"));
}

}  // namespace

std::vector<std::string_view> HarmonyReader::Marks() {
  return {std::begin(kHarmonyMarks), std::end(kHarmonyMarks)};
}

HarmonyReader::HarmonyReader(const ToolSet& tools, std::vector<std::string_view> control, AnswerSink& sink)
    : tools_(tools), text_marks_(Marks()), sink_(sink) {
  std::erase_if(text_marks_, [&](std::string_view mark) {
    return std::find(control.begin(), control.end(), mark) != control.end();
  });
}

void HarmonyReader::Text(std::string_view text) {
  for (const char c : text) {
    std::string passed;
    const size_t found = marks_.Push(c, text_marks_, &passed);
    for (const char byte : passed) Byte(byte);
    if (found != MarkScanner::kNone) Mark(text_marks_[found]);
  }
}

void HarmonyReader::Byte(char c) {
  std::string arguments;
  switch (place_) {
    case Place::kHeader:
      if (header_.size() < kMaxHeaderBytes) header_ += c;
      return;
    case Place::kContent:
      return sink_.Content(std::string_view(&c, 1));
    case Place::kThought:
      return sink_.Thought(std::string_view(&c, 1));
    case Place::kCallStart:
      if (std::string_view(" \n\t\r").find(c) != std::string_view::npos) return;
      if (c != '{') {
        // Not what functions are called with.
        place_ = Place::kContent;
        return Byte(c);
      }
      sink_.BeginCall(function_, "");
      sink_.Arguments("{");
      arguments_.emplace("{");
      place_ = Place::kArguments;
      return;
    case Place::kArguments:
      switch (arguments_->Push(c, &arguments)) {
        case ArgumentsStream::State::kDone:
          place_ = Place::kCallEnd;
          break;
        case ArgumentsStream::State::kBad:
          place_ = Place::kContent;
          return Byte(c);
        case ArgumentsStream::State::kMore:
          break;
      }
      return sink_.Arguments(arguments);
    case Place::kCallEnd:
      if (std::string_view(" \n\t\r").find(c) != std::string_view::npos) return;
      place_ = Place::kContent;
      return Byte(c);
  }
}

void HarmonyReader::Mark(std::string_view mark) {
  const std::string held = marks_.Flush();
  for (const char c : held) Byte(c);
  if (place_ != Place::kHeader) {
    // The end of a message, or the start of one whose end is missing.
    EndMessage();
    if (mark == kChannel || mark == kConstrain) header_ = mark;
  } else if (mark == kMessage) {
    BeginMessage();
  } else if (mark == kChannel || mark == kConstrain) {
    if (header_.size() < kMaxHeaderBytes) header_ += mark;
  } else {
    header_.clear();
  }
}

void HarmonyReader::BeginMessage() {
  std::string_view recipient = AfterKey(header_, "to=");
  const std::string_view channel = AfterKey(header_, kChannel);
  any_message_ = true;
  constexpr std::string_view kFunctions = "functions.";
  if (!recipient.empty() && !tools_.empty() && recipient.starts_with(kFunctions) &&
      IsFunctionName(recipient.substr(kFunctions.size()))) {
    function_ = recipient.substr(kFunctions.size());
    place_ = Place::kCallStart;
  } else if (!recipient.empty() || channel == "analysis") {
    // What goes to a tool that nobody offered is not meant for the user either.
    sink_.BeginThought();
    place_ = Place::kThought;
  } else {
    place_ = Place::kContent;
  }
  header_.clear();
}

void HarmonyReader::EndMessage() {
  if (place_ == Place::kThought) sink_.EndThought();
  if (place_ == Place::kCallStart) {
    sink_.BeginCall(function_, "");
    sink_.Arguments("{}");
  }
  place_ = Place::kHeader;
  header_.clear();
}

void HarmonyReader::Finish() {
  const std::string held = marks_.Flush();
  for (const char c : held) Byte(c);
  // A model that does not keep to the format: all that it wrote looks like a header.
  if (!any_message_ && place_ == Place::kHeader && header_.find(kChannel) == std::string::npos &&
      !header_.starts_with("assistant") && AfterKey(header_, "to=").empty()) {
    for (size_t at = 0; (at = header_.find(kConstrain, at)) != std::string::npos;)
      header_.erase(at, kConstrain.size());
    sink_.Content(header_);
  }
  if (place_ == Place::kThought) sink_.EndThought();
  sink_.Finish();
}

}  // namespace onecopy::text
