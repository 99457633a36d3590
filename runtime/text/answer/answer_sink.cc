#include "runtime/text/answer/answer_sink.h"

namespace onecopy::text {
namespace {

using nlohmann::ordered_json;

// White space beyond this is content wherever it stands; it bounds what is held back.
constexpr size_t kMaxSpaceHeld = 1024;

bool IsAnswerSpace(char c) {
  return c == ' ' || c == '\n' || c == '\t' || c == '\r';
}

// Source: Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014 (SplitMix64).
uint64_t SplitMix(uint64_t* state) {
  uint64_t z = *state += 0x9E3779B97F4A7C15;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return z ^ z >> 31;
}

}  // namespace

void AnswerSink::Add(AnswerDelta::Kind kind, std::string_view text, int call) {
  if (text.empty()) return;
  const bool same = !deltas_.empty() && deltas_.back().kind == kind && deltas_.back().call == call;
  if (same && kind != AnswerDelta::Kind::kCallBegin) {
    deltas_.back().text += text;
  } else {
    deltas_.push_back({kind, std::string(text), call});
  }
}

void AnswerSink::Content(std::string_view text) {
  for (const char c : text) {
    if (IsAnswerSpace(c) && space_.size() < kMaxSpaceHeld) {
      space_ += c;
      continue;
    }
    if (separated_ && content_.empty()) space_.erase(0, space_.find_first_not_of("\n\r"));
    separated_ = false;
    space_ += c;
    content_ += space_;
    Add(AnswerDelta::Kind::kContent, space_);
    space_.clear();
  }
}

void AnswerSink::BeginThought() {
  space_.clear();
  separated_ = true;
  thought_began_ = false;
}

void AnswerSink::Thought(std::string_view text) {
  for (const char c : text) {
    if (!thought_began_ && (c == '\n' || c == '\r')) continue;
    if (!thought_began_ && !reasoning_.empty()) thought_space_ = "\n";  // between two thoughts
    thought_began_ = true;
    if (IsAnswerSpace(c) && thought_space_.size() < kMaxSpaceHeld) {
      thought_space_ += c;
      continue;
    }
    thought_space_ += c;
    reasoning_ += thought_space_;
    Add(AnswerDelta::Kind::kReasoning, thought_space_);
    thought_space_.clear();
  }
}

void AnswerSink::EndThought() {
  thought_space_.clear();
  thought_began_ = false;
}

void AnswerSink::BeginCall(const std::string& name, const std::string& id) {
  space_.clear();
  separated_ = true;
  calls_.push_back({name, id.empty() ? NewId(name) : id, ""});
  AnswerDelta delta{AnswerDelta::Kind::kCallBegin, name, static_cast<int>(calls_.size()) - 1,
                    calls_.back().id};
  deltas_.push_back(std::move(delta));
}

void AnswerSink::Arguments(std::string_view json) {
  calls_.back().arguments += json;
  Add(AnswerDelta::Kind::kCallArguments, json, static_cast<int>(calls_.size()) - 1);
}

void AnswerSink::Finish() {
  EndThought();
  if (!separated_) {
    content_ += space_;
    Add(AnswerDelta::Kind::kContent, space_);
  }
  space_.clear();
}

std::vector<AnswerDelta> AnswerSink::Take() {
  std::vector<AnswerDelta> deltas;
  deltas.swap(deltas_);
  return deltas;
}

// As each family's templates want them: Mistral's refuse ids that are not nine letters and digits, Kimi was trained on
// functions.name:index.
std::string AnswerSink::NewId(const std::string& name) const {
  if (kind_ == CallSyntaxKind::kKimi) return "functions." + name + ":" + std::to_string(calls_.size());
  constexpr std::string_view kLetters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  const bool mistral = kind_ == CallSyntaxKind::kMistral;
  std::string id = mistral ? "" : "call_";
  uint64_t state = seed_ + calls_.size() * 0x632BE59BD9B4E019;
  for (int i = 0; i < (mistral ? 9 : 24); ++i) id += kLetters[SplitMix(&state) % kLetters.size()];
  return id;
}

ordered_json AnswerSink::Message() const {
  ordered_json message;
  message["role"] = "assistant";
  message["content"] = content_.empty() && !calls_.empty() ? ordered_json() : ordered_json(content_);
  if (!reasoning_.empty()) message["reasoning_content"] = reasoning_;
  for (const Call& call : calls_)
    message["tool_calls"].push_back({{"id", call.id},
                                     {"type", "function"},
                                     {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  return message;
}

}  // namespace onecopy::text
