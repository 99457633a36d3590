// ApiError: why a request is refused, in OpenAI's terms. Thrown by handlers, answered by Api::Handle.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>

namespace onecopy::serve {

using Json = nlohmann::ordered_json;

struct ApiError : std::runtime_error {
  ApiError(int http_status, const std::string& message, std::string param_name = {},
           std::string error_code = {})
      : std::runtime_error(message),
        status(http_status),
        param(std::move(param_name)),
        code(std::move(error_code)) {}

  int status;
  std::string param;  // the field that is wrong; may be empty
  std::string code;   // "context_length_exceeded", …; may be empty
};

// "invalid_request_error", "authentication_error", … by status.
const char* ErrorType(int status);
// {"error": {"message", "type", "param", "code"}}
Json ErrorJson(const ApiError& error);

}  // namespace onecopy::serve
