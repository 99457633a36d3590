// Threads as ranks: runs a body on `ranks` threads of this process, each with its own communicator.
#pragma once

#include <gtest/gtest.h>

#include <exception>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "runtime/comm/communicator.h"

namespace onecopy::test {

// What each rank threw, by rank; empty strings for ranks that returned.
inline std::vector<std::string> RunRanks(int ranks, const std::function<void(comm::Communicator&)>& body,
                                         const comm::CommOptions& options = {}) {
  auto communicators = comm::MakeLocalCommunicators(ranks, options);
  std::vector<std::string> errors(ranks);
  std::vector<std::thread> threads;
  for (int r = 0; r < ranks; ++r) {
    threads.emplace_back([&, r] {
      try {
        body(*communicators[r]);
      } catch (const std::exception& e) {
        errors[r] = e.what();
        communicators[r]->Abandon(e.what());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return errors;
}

inline void ExpectNoErrors(const std::vector<std::string>& errors) {
  for (size_t r = 0; r < errors.size(); ++r) EXPECT_EQ(errors[r], "") << "rank " << r;
}

}  // namespace onecopy::test
