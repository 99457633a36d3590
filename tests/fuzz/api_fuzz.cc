// Bodies of requests, of every route that takes one: the first byte is the route, the second the chat template.
#include "runtime/base/printable.h"
#include "tests/fuzz/api_context.h"

namespace onecopy::fuzz {
namespace {

using serve::Json;

constexpr const char* kPaths[] = {
    "/v1/chat/completions",      "/v1/completions", "/v1/responses", "/v1/messages",
    "/v1/messages/count_tokens", "/v1/embeddings",  "/tokenize",     "/detokenize"};

// Each event is "event: …" and "data: …" lines and an empty one; data is JSON, or the end.
void CheckEvents(std::string_view events) {
  Require(!events.empty() && events.ends_with("\n\n"), "a stream that breaks off: {}",
          Printable(events, 200));
  while (!events.empty()) {
    const size_t end = events.find('\n');
    const std::string_view line = events.substr(0, end);
    events.remove_prefix(end + 1);
    if (line.empty() || line.starts_with("event: ") || line == "data: [DONE]") continue;
    Require(line.starts_with("data: ") && Json::accept(line.substr(6)), "an event that is none: {}",
            Printable(line, 200));
  }
}

}  // namespace
}  // namespace onecopy::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onecopy;        // NOLINT
  using namespace onecopy::fuzz;  // NOLINT
  std::string_view body = View(data, size);
  serve::HttpRequest request;
  request.method = "POST";
  request.path = kPaths[TakeNumber<uint8_t>(&body) % std::size(kPaths)];
  const auto template_number = TakeNumber<uint8_t>(&body);
  request.body = body;
  request.peer = "127.0.0.1";
  request.id = "fuzz";
  static const Answered warm = Handle(request, template_number);  // makes what is made once
  const Budget budget(20, size_t{500} << 20);
  const Answered answered = Handle(std::move(request), template_number);
  Require(answered.responses == 1, "{} responses", answered.responses);
  if (answered.is_stream) {
    Require(answered.ended, "a stream without an end");
    CheckEvents(answered.events);
    return 0;
  }
  const int status = answered.response.status;
  Require(status == 200 || (status >= 400 && status < 500), "status {}: {}", status,
          Printable(answered.response.body, 400));
  Require(Json::accept(answered.response.body), "no JSON: {}", Printable(answered.response.body, 400));
  return 0;
}
