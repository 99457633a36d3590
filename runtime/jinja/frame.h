// Frames: what a Renderer and its worker send each other over a socket: eight bytes of length in the machine's order, then
// as many bytes. The worker's first frame is empty when it is ready, else it says what is missing. A request is a JSON
// object {"template", "variables", "now", "max_characters"}; an answer {"text"} or {"error"}.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace onecopy::jinja {

inline constexpr unsigned kMaxSeconds = 10;                  // that one request may take
inline constexpr size_t kMaxFrameBytes = size_t{256} << 20;  // six bytes of JSON a character
inline constexpr size_t kMaxTextCharacters = size_t{16} << 20;

// Blocking; a descriptor with a time-out (SO_RCVTIMEO) that passes counts as ended.
// nullopt: the other side is gone, or sent more than max_bytes.
std::optional<std::string> ReadFrame(int fd, size_t max_bytes);
// False: the other side is gone.
bool WriteFrame(int fd, std::string_view bytes);

}  // namespace onecopy::jinja
