// Waiting for a nonblocking MPI call so that the wait can be given up: polls with a deadline and signs of trouble in view;
// short polls spin, long ones sleep. Belongs to the thread that calls MPI.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>

namespace onecopy::comm {

inline constexpr double kNoDeadline = std::numeric_limits<double>::infinity();

class MpiWait {
 public:
  // check_trouble() throws when this host cannot go on.
  explicit MpiWait(std::function<void()> check_trouble) : check_trouble_(std::move(check_trouble)) {}

  // request: an MPI_Request*. call: for messages, such as "MPI_Ibcast between hosts". peers: who is waited for, such as
  // "the other hosts". Errors: CommError when the call fails or the deadline passes; what check_trouble throws.
  void Await(void* request, const char* call, const char* peers, double deadline_seconds);

  double wait_seconds() const { return static_cast<double>(wait_ns_) * 1e-9; }

 private:
  std::function<void()> check_trouble_;
  int64_t wait_ns_ = 0;
};

}  // namespace onecopy::comm
