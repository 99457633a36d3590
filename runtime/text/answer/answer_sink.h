// AnswerSink: what the readers of answers write to: deltas, and the message that they make together. White space that only
// separates the parts of an answer (line breaks around a thought, white space before a call) is not part of any of them.
// One per answer; not thread-safe.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/answer/answer_format.h"

namespace onecopy::text {

struct AnswerDelta {
  enum class Kind {
    kContent,        // text: what is said
    kReasoning,      // text: what is only thought
    kCallBegin,      // text: the function's name; id: the call's
    kCallArguments,  // text: the next piece of the JSON text of the arguments
  } kind;
  std::string text;  // whole characters
  int call = -1;     // which call, from 0
  std::string id = {};
};

class AnswerSink {
 public:
  // seed: calls without an id of their own get one that follows from it.
  AnswerSink(CallSyntaxKind kind, uint64_t seed) : kind_(kind), seed_(seed) {}

  void Content(std::string_view text);
  // begins: the first piece of a thought.
  void BeginThought();
  void Thought(std::string_view text);
  void EndThought();
  void BeginCall(const std::string& name, const std::string& id);
  void Arguments(std::string_view json);
  // The answer is over: white space that nothing followed is content after all, unless it separates.
  void Finish();

  bool said_nothing() const { return content_.empty() && calls_.empty(); }
  size_t calls() const { return calls_.size(); }
  // The deltas since the last time.
  std::vector<AnswerDelta> Take();
  nlohmann::ordered_json Message() const;

 private:
  struct Call {
    std::string name, id, arguments;
  };
  void Add(AnswerDelta::Kind kind, std::string_view text, int call = -1);
  std::string NewId(const std::string& name) const;

  const CallSyntaxKind kind_;
  const uint64_t seed_;
  std::vector<AnswerDelta> deltas_;
  std::string content_, reasoning_;
  std::vector<Call> calls_;
  std::string space_;  // of the content, that may yet turn out to separate
  std::string thought_space_;
  bool separated_ = false;  // a thought or a call came since the last content
  bool thought_began_ = false;
};

}  // namespace onecopy::text
