#include "runtime/report/machine.h"

#include <fcntl.h>
#include <omp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <thread>

#include "runtime/base/check.h"
#include "runtime/report/matmul_operands.h"

namespace onecopy::report {
namespace {

using Clock = std::chrono::steady_clock;

constexpr uint32_t kCols = 2048;  // of matrices to measure with

double Seconds(Clock::time_point since) {
  return std::chrono::duration<double>(Clock::now() - since).count();
}

uint64_t SumWords(const uint64_t* words, size_t n) {
  uint64_t sum[8] = {};
  for (size_t i = 0; i + 8 <= n; i += 8)
    for (int k = 0; k < 8; ++k) sum[k] += words[i + k];
  uint64_t total = 0;
  for (uint64_t s : sum) total += s;
  return total;
}

// The body on all threads at once, `passes` times; seconds of the quickest pass, until the last thread has ended.
template <typename Body>
double QuickestTogether(int threads, int passes, const Body& body) {
  std::vector<double> seconds(passes);
#pragma omp parallel num_threads(threads)
  for (int pass = 0; pass < passes; ++pass) {
#pragma omp barrier
    const auto start = Clock::now();
    body(omp_get_thread_num());
#pragma omp barrier
#pragma omp master
    seconds[pass] = Seconds(start);
  }
  return *std::min_element(seconds.begin(), seconds.end());
}

}  // namespace

MemoryProbe::MemoryProbe(int threads, uint64_t bytes) : threads_(threads), parts_(threads) {
  // Far beyond private caches, and beyond what a large shared last level keeps of it.
  constexpr uint64_t kBytesPerThread = 256ull << 20, kMostBytes = 4ull << 30;
  if (bytes == 0) bytes = std::min(kBytesPerThread * threads, kMostBytes);
  bytes_ = RoundUp(bytes / threads, uint64_t{2} << 20);
  bool failed = false;
#pragma omp parallel num_threads(threads) reduction(|| : failed)
  {
    void* memory = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      failed = true;
    } else {
      (void)madvise(memory, bytes_, MADV_HUGEPAGE);
      std::memset(memory, 0, bytes_);
      parts_[omp_get_thread_num()] = static_cast<uint8_t*>(memory);
    }
  }
  if (!failed) return;
  for (uint8_t* part : parts_)
    if (part) munmap(part, bytes_);
  Fail(ErrorCode::kNoMemory, "cannot allocate {} bytes a thread to measure read bandwidth", bytes_);
}

MemoryProbe::~MemoryProbe() {
  for (uint8_t* part : parts_) munmap(part, bytes_);
}

double MemoryProbe::ReadBandwidth(int passes) const {
  std::atomic<uint64_t> sink{0};
  const double seconds = QuickestTogether(threads_, passes, [&](int t) {
    sink += SumWords(reinterpret_cast<const uint64_t*>(parts_[t]), bytes_ / sizeof(uint64_t));
  });
  return static_cast<double>(bytes_) * threads_ / seconds;
}

double MemoryProbe::OneThreadBandwidth(int passes) const {
  std::atomic<uint64_t> sink{0};
  const double seconds = QuickestTogether(1, passes, [&](int) {
    for (const uint8_t* part : parts_)
      sink += SumWords(reinterpret_cast<const uint64_t*>(part), bytes_ / sizeof(uint64_t));
  });
  return static_cast<double>(bytes_) * threads_ / seconds;
}

std::vector<double> MemoryProbe::ThreadBandwidths(int passes) const {
  std::atomic<uint64_t> sink{0};
  std::vector<double> best(threads_);
  QuickestTogether(threads_, passes, [&](int t) {
    const auto start = Clock::now();
    sink += SumWords(reinterpret_cast<const uint64_t*>(parts_[t]), bytes_ / sizeof(uint64_t));
    best[t] = std::max(best[t], static_cast<double>(bytes_) / Seconds(start));
  });
  return best;
}

MemoryProbe::Pass MemoryProbe::ReadMatrices(const kernels::KernelTable& table, kernels::WeightType type,
                                            bool sum, uint32_t rows, bool in_order) const {
  constexpr int kPasses = 3;
  MatmulOperands operands(table, type, rows, kCols, 1);
  const size_t matrix_bytes = RoundUp(kernels::PackedBytes(operands.shape()), uint64_t{64});
  std::vector<size_t> order(bytes_ / matrix_bytes);
  std::iota(order.begin(), order.end(), 0);
  if (!in_order) std::shuffle(order.begin(), order.end(), std::mt19937(1));
  Pass quickest{std::numeric_limits<double>::infinity(), static_cast<double>(order.size())};
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = Clock::now();
    for (size_t i : order) operands.Run(parts_[0] + i * matrix_bytes, sum);
    quickest.seconds = std::min(quickest.seconds, Seconds(start));
  }
  return quickest;
}

double MemoryProbe::MatmulRate(const kernels::KernelTable& table, kernels::WeightType type, bool sum) const {
  const kernels::WeightKernel& kernel = table.weights[static_cast<size_t>(type)];
  if (!kernel.matmul || !kernel.matmul_sum) return 0;
  constexpr uint32_t kRows = 512;  // a task of exec/linear.h for few tokens
  const Pass pass = ReadMatrices(table, type, sum, kRows, /*in_order=*/true);
  return pass.matrices * kRows * kCols / pass.seconds;
}

double MemoryProbe::JumpSeconds(const kernels::KernelTable& table, kernels::WeightType type) const {
  const kernels::WeightKernel& kernel = table.weights[static_cast<size_t>(type)];
  if (!kernel.matmul) return 0;
  constexpr uint32_t kRows = 128;  // a task's part of an expert
  const Pass in_order = ReadMatrices(table, type, false, kRows, true),
             shuffled = ReadMatrices(table, type, false, kRows, false);
  return std::max(0.0, (shuffled.seconds - in_order.seconds) / in_order.matrices);
}

double MeasureReadBandwidth(int threads, uint64_t bytes) {
  return MemoryProbe(threads, bytes).ReadBandwidth();
}

double MeasureRegionSeconds(int threads) {
  if (threads < 2) return 0;
  constexpr int kRegions = 50, kPasses = 8;
  std::vector<int> touched(static_cast<size_t>(threads) * 4);
  double best = std::numeric_limits<double>::infinity();
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto start = Clock::now();
    for (int i = 0; i < kRegions; ++i) {
#pragma omp parallel for num_threads(threads) schedule(dynamic)
      for (size_t k = 0; k < touched.size(); ++k) touched[k] = i;
    }
    best = std::min(best, Seconds(start) / kRegions);
  }
  return best;
}

double MeasureCopyBandwidth(int threads) {
  // A prefill's message: beyond the first caches, within the last.
  constexpr size_t kBytes = 1 << 20;
  constexpr int kPasses = 16;
  std::vector<std::vector<uint8_t>> written(threads, std::vector<uint8_t>(kBytes)),
      copies(threads, std::vector<uint8_t>(kBytes));
  std::vector<double> best(threads, std::numeric_limits<double>::infinity());
#pragma omp parallel num_threads(threads)
  {
    const int me = omp_get_thread_num();
    const auto& from = written[(me + 1) % threads];
    for (int pass = 0; pass < kPasses; ++pass) {
      std::memset(written[me].data(), pass, kBytes);
#pragma omp barrier
      const auto start = Clock::now();
      std::memcpy(copies[me].data(), from.data(), kBytes);
      best[me] = std::min(best[me], Seconds(start));
#pragma omp barrier
    }
  }
  return static_cast<double>(kBytes) / *std::max_element(best.begin(), best.end());
}

namespace {

// One way to wake a thread: a word that it polls, or a pipe that it sleeps on.
class Signal {
 public:
  explicit Signal(bool spins) : spins_(spins) {
    if (!spins_ && pipe2(ends_, O_CLOEXEC) != 0)
      Fail(ErrorCode::kNoMemory, "cannot open a pipe to measure how long a wake-up takes: {}",
           std::strerror(errno));
  }
  ~Signal() {
    for (const int end : ends_)
      if (end >= 0) close(end);
  }
  void Send(uint32_t round) {
    word_ = round;
    const char byte = 0;
    if (!spins_) ONECOPY_CHECK(write(ends_[1], &byte, 1) == 1);
  }
  void Await(uint32_t round) {
    char byte;
    if (!spins_) ONECOPY_CHECK(read(ends_[0], &byte, 1) == 1);
    // Now and then the core is given up: there may be fewer than was thought.
    for (uint32_t i = 1; word_ != round; ++i)
      if (i % 4096 == 0) std::this_thread::yield();
  }

 private:
  const bool spins_;
  int ends_[2] = {-1, -1};
  alignas(128) std::atomic<uint32_t> word_{0};
};

}  // namespace

double MeasureSignalSeconds(bool spins) {
  constexpr uint32_t kRounds = 400, kPasses = 3;
  double best = std::numeric_limits<double>::infinity();
  for (uint32_t pass = 0; pass < kPasses; ++pass) {
    Signal ping(spins), pong(spins);
    std::thread other([&] {
      for (uint32_t i = 1; i <= kRounds; ++i) {
        ping.Await(i);
        pong.Send(i);
      }
    });
    const auto start = Clock::now();
    for (uint32_t i = 1; i <= kRounds; ++i) {
      ping.Send(i);
      pong.Await(i);
    }
    best = std::min(best, Seconds(start) / (2 * kRounds));
    other.join();
  }
  return best;
}

}  // namespace onecopy::report
