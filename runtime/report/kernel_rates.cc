#include "runtime/report/kernel_rates.h"

#include <omp.h>

#include <algorithm>
#include <chrono>
#include <vector>

#include "runtime/report/matmul_operands.h"

namespace onecopy::report {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point since) {
  return std::chrono::duration<double>(Clock::now() - since).count();
}

// Seconds of a call: the median of those that fit into `budget`, at least three. Not the best: a core's clock is highest
// in its first milliseconds.
template <typename Body>
double Typical(double budget, const Body& body) {
  std::vector<double> seconds;
  const auto start = Clock::now();
  while (seconds.size() < 3 || SecondsSince(start) < budget) {
    const auto pass = Clock::now();
    body();
    seconds.push_back(SecondsSince(pass));
  }
  std::nth_element(seconds.begin(), seconds.begin() + seconds.size() / 2, seconds.end());
  return seconds[seconds.size() / 2];
}

}  // namespace

double MeasureMatmulRate(const kernels::KernelTable& table, kernels::WeightType type, bool sum,
                         uint32_t tokens, int threads) {
  const kernels::WeightKernel& kernel = table.weights[static_cast<size_t>(type)];
  if (!kernel.matmul || !kernel.matmul_sum) return 0;
  // A task of exec/linear.h for many tokens.
  constexpr uint32_t kRows = 64, kCols = 2048;
  constexpr double kBudget = 0.008;
  double rate = 0;
#pragma omp parallel num_threads(threads) reduction(+ : rate)
  {
    MatmulOperands operands(table, type, kRows, kCols, tokens);
    std::vector<uint8_t> weights(kernels::PackedBytes(operands.shape()) + 64);
    const uint8_t* data = Align64(weights.data());
#pragma omp barrier
    rate += double{kRows} * kCols * tokens / Typical(kBudget, [&] { operands.Run(data, sum); });
  }
  return rate / threads;
}

VectorSeconds MeasureVectorSeconds(const kernels::KernelTable& table, uint32_t heads_per_kv,
                                   uint32_t head_dim) {
  constexpr double kBudget = 0.003;
  constexpr size_t kN = 4096, kScores = 128, kPositions = 64;
  std::vector<float> x(kN, 0.5f), y(kN, 0.25f), out(kN);
  std::vector<double> sum(kN, 0.5);
  std::vector<uint8_t> row(kernels::Q8RowBytes(kN) + 64);
  VectorSeconds s;
  s.norm = Typical(kBudget, [&] { table.rms_norm(x.data(), y.data(), 1e-6f, kN, out.data()); }) / kN;
  s.quantize = Typical(kBudget, [&] { table.quantize_q8(x.data(), kN, Align64(row.data())); }) / kN;
  s.silu = Typical(kBudget, [&] { table.silu_mul(x.data(), y.data(), kN, out.data()); }) / kN;
  s.softmax = Typical(kBudget,
                      [&] {
                        for (size_t i = 0; i < kN; i += kScores) table.softmax(out.data() + i, kScores);
                      }) /
              kN;
  s.add = Typical(kBudget,
                  [&] {
                    for (size_t i = 0; i < kN; ++i) x[i] = static_cast<float>(x[i] + sum[i]);
                  }) /
          kN;

  const size_t heads = std::max(1u, heads_per_kv), dim = std::max(1u, head_dim);
  const std::vector<uint8_t> cache(kPositions * kernels::KvRowBytes(table.kv_type, dim));
  std::vector<float> q(heads * dim, 0.5f), acc(heads * dim), scratch(heads * kPositions);
  std::vector<kernels::SoftmaxState> state(heads, {0.0f, 1.0f});
  const double attend = Typical(kBudget, [&] {
    table.attend(q.data(), heads, dim, cache.data(), dim, cache.data(), dim, dim, kPositions, nullptr,
                 state.data(), acc.data(), scratch.data());
  });
  s.attend = attend / static_cast<double>(heads * dim * kPositions);
  return s;
}

}  // namespace onecopy::report
