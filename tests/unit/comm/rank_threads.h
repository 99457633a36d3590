// Runs one function per rank on threads of its own, and values that name who wrote them.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <exception>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "runtime/comm/communicator.h"

namespace onecopy::comm {

// Thrown by Demand. The other ranks then end at once, instead of waiting for this one until the deadline.
struct WrongResult : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// The text is made only when it is wanted: values are checked by the million.
template <typename... Args>
void Demand(bool condition, fmt::format_string<Args...> what, Args&&... args) {
  if (!condition) throw WrongResult(fmt::format(what, std::forward<Args>(args)...));
}

// What a rank's function ended with: "" or the message of its exception.
struct RankOutcome {
  std::string error;
  int culprit = -2;  // of a CommError; -2 when it was none
  ErrorCode code = ErrorCode::kOk;
};

inline CommOptions Deadline(double seconds) {
  CommOptions options;
  options.deadline_seconds = seconds;
  return options;
}

using Communicators = std::vector<std::unique_ptr<Communicator>>;

// The communicators outlive all threads, so a rank whose function ends early is silent rather than gone.
inline std::vector<RankOutcome> RunRanks(const Communicators& communicators,
                                         const std::function<void(Communicator&)>& body) {
  std::vector<RankOutcome> outcomes(communicators.size());
  std::vector<std::thread> threads;
  for (size_t r = 0; r < communicators.size(); ++r) {
    threads.emplace_back([&, r] {
      try {
        body(*communicators[r]);
      } catch (const CommError& e) {
        outcomes[r] = {e.what(), e.culprit(), e.code()};
      } catch (const Error& e) {
        outcomes[r] = {e.what(), -2, e.code()};
      } catch (const WrongResult& e) {
        outcomes[r] = {e.what()};
        communicators[r]->Abandon(e.what());
      } catch (const std::exception& e) {
        outcomes[r] = {e.what()};
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return outcomes;
}

inline void ExpectAllWell(const std::vector<RankOutcome>& outcomes) {
  for (size_t r = 0; r < outcomes.size(); ++r) EXPECT_EQ(outcomes[r].error, "") << "rank " << r;
}

// splitmix64: a well-mixed 64-bit value of any key.
inline uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

}  // namespace onecopy::comm
