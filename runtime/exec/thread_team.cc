#include "runtime/exec/thread_team.h"

#include <optional>

#include "runtime/base/check.h"

namespace onecopy::exec {

ThreadTeam::ThreadTeam(int threads, const std::vector<int>& cpus) : threads_(threads), busy_(threads) {
  ONECOPY_CHECK(threads >= 1 && (cpus.empty() || cpus.size() == static_cast<size_t>(threads)));
  omp_set_dynamic(0);
  omp_set_num_threads(threads);
  if (cpus.empty()) return;
  std::vector<std::optional<Error>> errors(threads);
#pragma omp parallel num_threads(threads)
  {
    const int t = omp_get_thread_num();
    try {  // nothing may leave a parallel region
      numa::PinThread(cpus[t]);
    } catch (const Error& e) {
      errors[t] = e;
    }
  }
  for (const auto& error : errors)
    if (error) throw *error;
}

}  // namespace onecopy::exec
