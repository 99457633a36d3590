#include "runtime/serve/event_stream.h"

namespace onecopy::serve {

std::string DataEvent(const Json& json) {
  return "data: " + json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n\n";
}

void EventStream::Send(std::string events) {
  if (!begun_) exchange_->BeginEvents();
  begun_ = true;
  exchange_->SendEvents(std::move(events));
}

void EventStream::End(std::string events) {
  Send(std::move(events));
  exchange_->End();
}

void EventStream::Fail(const ApiError& error) {
  if (!begun_) return RespondError(*exchange_, error);
  const HttpRequest& request = exchange_->request();
  const std::string event = DataEvent(ErrorJsonFor(request, error));
  if (request.path.starts_with("/v1/messages")) return End("event: error\n" + event);
  End(event + "data: [DONE]\n\n");
}

void Usage::Add(const Finish& finish, bool first) {
  if (first) {
    prompt_ += finish.prompt_tokens;
    cached_ += finish.cached_tokens;
  }
  generated_ += finish.generated_tokens;
}

}  // namespace onecopy::serve
