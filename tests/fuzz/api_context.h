// A server without sockets, model and Python: the API over an engine that makes tokens up, on one thread.
#pragma once

#include "runtime/serve/api.h"
#include "tests/fuzz/support.h"

namespace onecopy::fuzz {

// What an exchange was answered with.
struct Answered {
  int responses = 0;  // Respond or BeginEvents
  bool ended = false;
  serve::HttpResponse response;
  bool is_stream = false;
  std::string events;
};

// Handles one request, and runs the steps that it asks for. template_number: one of several chat templates.
Answered Handle(serve::HttpRequest request, size_t template_number);

}  // namespace onecopy::fuzz
