#include "runtime/shard/apportion.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <queue>

namespace onecopy::shard {

bool Loads::Before(int a, int b) const {
  const double phase_a = phase[a] / share[a], phase_b = phase[b] / share[b];
  if (phase_a != phase_b) return phase_a < phase_b;
  const double total_a = total[a] / share[a], total_b = total[b] / share[b];
  if (total_a != total_b) return total_a < total_b;
  return a < b;
}

void Loads::Add(int rank, double bytes) {
  total[rank] += bytes;
  phase[rank] += bytes;
}

void Loads::BeginPhase() {
  std::fill(phase.begin(), phase.end(), 0.0);
}

std::vector<uint32_t> DealEvenly(uint32_t units, double unit_bytes, Loads* loads) {
  const int ranks = static_cast<int>(loads->share.size());
  std::vector<uint32_t> counts(ranks);
  uint32_t dealt = 0;
  for (int r = 0; r < ranks; ++r) {
    // The tiny addition keeps 24 * (1 / 24) from becoming 0.
    counts[r] = static_cast<uint32_t>(std::floor(units * loads->share[r] + 1e-9));
    dealt += counts[r];
  }
  std::vector<int> order(ranks);
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) { return loads->Before(a, b); });
  for (int i = 0; dealt < units; i = (i + 1) % ranks, ++dealt) ++counts[order[i]];
  for (int r = 0; r < ranks; ++r) loads->Add(r, counts[r] * unit_bytes);
  return counts;
}

std::vector<uint32_t> DealToLeast(uint32_t units, double unit_bytes, Loads* loads) {
  const int ranks = static_cast<int>(loads->share.size());
  std::vector<uint32_t> counts(ranks);
  const auto after = [&](int a, int b) { return loads->Before(b, a); };
  std::priority_queue<int, std::vector<int>, decltype(after)> queue(after);
  for (int r = 0; r < ranks; ++r) queue.push(r);
  for (uint32_t u = 0; u < units; ++u) {
    const int r = queue.top();
    queue.pop();
    ++counts[r];
    loads->Add(r, unit_bytes);
    queue.push(r);  // only r's load changed, and r was outside the queue while it did
  }
  return counts;
}

}  // namespace onecopy::shard
