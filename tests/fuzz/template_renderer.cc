// Stands in for the worker that renders chat templates (runtime/jinja): answers each request with the conversation as text,
// at once and without Python, by the same protocol.
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "runtime/jinja/frame.h"

int main() {
  using namespace onecopy::jinja;  // NOLINT
  if (!WriteFrame(STDOUT_FILENO, "")) return 0;
  while (const auto request = ReadFrame(STDIN_FILENO, kMaxFrameBytes)) {
    const auto parsed = nlohmann::ordered_json::parse(*request);
    std::string text;
    for (const auto& message : parsed["variables"]["messages"]) {
      text += "<|im_start|>" + message.value("role", nlohmann::ordered_json()).dump() + "\n";
      const auto content = message.value("content", nlohmann::ordered_json());
      text += (content.is_string() ? content.get<std::string>() : content.dump()) + "<|im_end|>\n";
    }
    if (!WriteFrame(STDOUT_FILENO, nlohmann::json{{"text", text.substr(0, 4000)}}.dump(
                                       -1, ' ', false, nlohmann::json::error_handler_t::replace)))
      return 0;
  }
}
