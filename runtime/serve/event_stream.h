// What streaming answers share: the frames, and the count of tokens.
#pragma once

#include "runtime/serve/api.h"

namespace onecopy::serve {

std::string DataEvent(const Json& json);

// Server-sent events that begin with the first one, so that what fails before still has its status. For one thread.
class EventStream {
 public:
  explicit EventStream(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}

  // Whole events.
  void Send(std::string events);
  // OpenAI's last event.
  void End(std::string events = "data: [DONE]\n\n");
  // With a status or, once begun, as an event, in the form of the request's API.
  void Fail(const ApiError& error);

 private:
  const std::shared_ptr<Exchange> exchange_;
  bool begun_ = false;
};

// Tokens of all choices.
class Usage {
 public:
  // first: of its prompt's choices; the prompt counts once.
  void Add(const Finish& finish, bool first);
  Json ToJson() const { return UsageJson(prompt_, cached_, generated_); }
  uint64_t prompt() const { return prompt_; }
  uint64_t cached() const { return cached_; }
  uint64_t generated() const { return generated_; }

 private:
  uint64_t prompt_ = 0, cached_ = 0, generated_ = 0;
};

}  // namespace onecopy::serve
