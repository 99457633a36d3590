// Error: the one exception type of onecopy. Thrown during set-up only, never from the step loop, an OpenMP
// region or a pending collective; main() turns its code into the exit code of the process.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace onecopy {

// The values are the exit codes of the command line, a contract.
enum class ErrorCode : int {
  kOk = 0,
  kInternal = 1,       // a bug in onecopy
  kUsage = 2,          // wrong option or argument
  kBadInput = 3,       // bad or unsupported model or input file
  kNoMemory = 4,       // does not fit
  kCommunication = 5,  // a rank or the communication failed
  kInterrupted = 130,
};

// Message: one sentence with what was expected, what was found, where (file, tensor, rank, host), and what to
// do.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

template <typename... Args>
[[noreturn]] void Fail(ErrorCode code, fmt::format_string<Args...> format, Args&&... args) {
  throw Error(code, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace onecopy
