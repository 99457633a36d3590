// Latency of the all-reduce beside MPI_Allreduce, in one job: run under mpirun. Prints a table on rank 0: microseconds a
// call, median and 90th percentile over calls, of a rank that calls again at once. Both sides are measured in turns, a
// few calls each, so that a busy machine hurts both. Not a test: it judges nothing.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "runtime/comm/communicator.h"

namespace onecopy::comm {
namespace {

using Clock = std::chrono::steady_clock;

void Measure(Communicator& comm, std::span<float> x, int calls, std::vector<double>* took_us) {
  comm.Barrier();
  for (int i = 0; i < calls; ++i) {
    const auto start = Clock::now();
    comm.AllReduceSum(x);
    took_us->push_back(std::chrono::duration<double, std::micro>(Clock::now() - start).count());
  }
}

double Quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1))];
}

void Run() {
  CommOptions options;
  const auto shared = MakeMpiCommunicator(options);
  options.collectives = CommOptions::Collectives::kMpi;
  const auto plain = MakeMpiCommunicator(options);
  const bool prints = shared->rank() == 0;
  if (prints) {
    fmt::print("{} ranks, {} on this host; us a call\n", shared->size(), shared->ranks_on_host());
    fmt::print("{:>9} {:>10} {:>10} {:>12} {:>10}\n", "bytes", "onecopy", "p90", "MPI", "p90");
  }
  for (size_t bytes = 64; bytes <= size_t{1} << 20; bytes *= 4) {
    for (const size_t n_bytes : {bytes, bytes * 2}) {
      if (n_bytes > size_t{1} << 20) continue;
      std::vector<float> x(n_bytes / sizeof(float));
      std::vector<double> ours_us, mpi_us;
      const int calls = n_bytes <= 65536 ? 40 : 10;
      for (int round = 0; round < 10; ++round) {
        Measure(*shared, x, calls, &ours_us);
        Measure(*plain, x, calls, &mpi_us);
      }
      if (!prints) continue;
      fmt::print("{:>9} {:>10.1f} {:>10.1f} {:>12.1f} {:>10.1f}\n", n_bytes, Quantile(ours_us, 0.5),
                 Quantile(ours_us, 0.9), Quantile(mpi_us, 0.5), Quantile(mpi_us, 0.9));
    }
  }
}

}  // namespace
}  // namespace onecopy::comm

int main() {
  try {
    onecopy::comm::Run();
  } catch (const onecopy::Error& e) {
    fmt::print(stderr, "error: {}\n", e.what());
    onecopy::comm::AbortMpi(static_cast<int>(e.code()));
  }
}
