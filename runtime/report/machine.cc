#include "runtime/report/machine.h"

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <vector>

#include "runtime/base/check.h"

namespace onecopy::report {
namespace {

using Clock = std::chrono::steady_clock;

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

}  // namespace

double MeasureReadBandwidth(int threads) {
  // Far beyond private caches, and beyond what a large shared last level keeps of it.
  constexpr size_t kBytes = 256ull << 20;
  constexpr int kPasses = 4;
  std::atomic<uint64_t> sink{0};
  std::atomic<bool> failed{false};
  std::vector<double> seconds(kPasses);
#pragma omp parallel num_threads(threads)
  {
    void* memory = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
      failed = true;
    } else {
      (void)madvise(memory, kBytes, MADV_HUGEPAGE);
      std::memset(memory, 1, kBytes);
    }
    for (int pass = 0; pass < kPasses; ++pass) {
#pragma omp barrier
      const auto start = Clock::now();
      if (!failed) sink += SumWords(static_cast<const uint64_t*>(memory), kBytes / sizeof(uint64_t));
#pragma omp barrier
#pragma omp master
      seconds[pass] = Seconds(start);
    }
    if (memory != MAP_FAILED) munmap(memory, kBytes);
  }
  if (failed)
    Fail(ErrorCode::kNoMemory, "cannot allocate {} bytes a thread to measure read bandwidth", kBytes);
  return static_cast<double>(kBytes) * threads / *std::min_element(seconds.begin(), seconds.end());
}

double MeasureMatmulRate(const kernels::KernelTable& table, kernels::WeightType type) {
  const kernels::WeightKernel& kernel = table.weights[static_cast<size_t>(type)];
  if (!kernel.matmul) return 0;
  constexpr uint32_t kRows = 64, kCols = 2048, kTokens = 64;
  kernels::PackedMatrix w;
  w.type = type;
  w.row_tile = kernel.row_tile;
  w.rows = kRows;
  w.cols = kCols;
  // Zero weights cost as much as any; all-zero blocks are valid in every type.
  std::vector<uint8_t> memory(kernels::PackedBytes(w) + 64);
  w.data = memory.data() + (64 - reinterpret_cast<uintptr_t>(memory.data()) % 64) % 64;
  const size_t row_bytes = kernels::ActRowBytes(kernel.act, kCols);
  std::vector<uint8_t> act_memory(kTokens * row_bytes + 64);
  uint8_t* acts = act_memory.data() + (64 - reinterpret_cast<uintptr_t>(act_memory.data()) % 64) % 64;
  std::vector<float> x(kCols, 0.5f), y(kTokens * kRows);
  std::vector<const void*> x_rows;
  std::vector<float*> y_rows;
  for (uint32_t t = 0; t < kTokens; ++t) {
    uint8_t* row = acts + t * row_bytes;
    if (kernel.act == kernels::ActFormat::kQ8)
      table.quantize_q8(x.data(), kCols, row);
    else
      std::memcpy(row, x.data(), kCols * sizeof(float));
    x_rows.push_back(row);
    y_rows.push_back(y.data() + t * kRows);
  }
  double best = 0;
  const auto start = Clock::now();
  do {
    const auto pass = Clock::now();
    kernel.matmul(w, x_rows.data(), y_rows.data(), kTokens, 0, kRows);
    best = std::max(best, 2.0 * kRows * kCols * kTokens / Seconds(pass));
  } while (Seconds(start) < 0.05);
  return best;
}

}  // namespace onecopy::report
