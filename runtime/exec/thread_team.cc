#include "runtime/exec/thread_team.h"

#include <atomic>
#include <optional>
#include <thread>

#include "runtime/base/check.h"
#include "runtime/base/current_error.h"

namespace onecopy::exec {
namespace {

// libgomp ends the process where it gets no thread, so ask for as many first, of its stack size.
void RequireThreads(int n) {
  std::atomic<bool> go = false;
  std::vector<std::jthread> threads;
  const auto release = [&] {
    go = true;
    go.notify_all();
  };
  try {
    while (n-- > 0) threads.emplace_back([&] { go.wait(false); });
  } catch (...) {
    release();
    throw;
  }
  release();
}

}  // namespace

ThreadTeam::ThreadTeam(int threads, const std::vector<int>& cpus) : threads_(threads), busy_(threads) {
  ONECOPY_CHECK(threads >= 1 && (cpus.empty() || cpus.size() == static_cast<size_t>(threads)));
  omp_set_dynamic(0);
  omp_set_num_threads(threads);
  RequireThreads(threads - 1);
  if (cpus.empty()) return;
  std::vector<std::optional<Error>> errors(threads);
#pragma omp parallel num_threads(threads)
  {
    const int t = omp_get_thread_num();
    try {  // nothing may leave a parallel region
      numa::PinThread(cpus[t]);
    } catch (...) {
      errors[t] = CurrentError("binding threads");
    }
  }
  for (const auto& error : errors)
    if (error) throw *error;
}

}  // namespace onecopy::exec
