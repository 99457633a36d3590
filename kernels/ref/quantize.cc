// Activations to int8 per 32 columns (kernels.h, Q8RowBytes), and rows of a q8_0 cache. The first is not used by this table's own kernels, which
// take floats; the yardstick for the other tables' quantize_q8, which must give these very bits. Re-entrant.
#include <algorithm>
#include <cfloat>
#include <cmath>

#include "kernels/ref/ref.h"
#include "kernels/types/half.h"

namespace onecopy::kernels::ref {
namespace {

// Below this the reciprocal of d would overflow: such a unit counts as zero.
constexpr float kSmallestMax = 127 * FLT_MIN;

// x[n] -> q[32], of which those from n on are 0; returns d. What is below 127 * FLT_MIN counts as zero.
float QuantizeUnit(const float* x, size_t n, int8_t* q) {
  float max = 0, poison = 0;
  for (size_t i = 0; i < n; ++i) {
    max = std::max(max, std::fabs(x[i]));
    poison += x[i] - x[i];  // NaN from an infinity or a NaN, which must not become a plausible number
  }
  const bool zero = !(max >= kSmallestMax);
  const float scale = zero ? 0.0f : max / 127.0f;
  const float inverse = zero ? 0.0f : 1.0f / scale;
  for (size_t i = 0; i < kUnitCols; ++i) {
    const float scaled = i < n ? x[i] * inverse : 0.0f;
    // A value that is not finite has no integer; its unit is NaN by `poison`.
    q[i] = std::fabs(scaled) <= 128.0f ? static_cast<int8_t>(std::nearbyintf(scaled)) : 0;
  }
  return scale + poison;
}

}  // namespace

void quantize_q8(const float* x, size_t cols, void* out) {
  const size_t units = (cols + kUnitCols - 1) / kUnitCols;
  auto* q = static_cast<int8_t*>(out);
  auto* d = reinterpret_cast<float*>(q + units * kUnitCols);
  float* s[2] = {d + units, d + 2 * units};
  for (size_t u = 0; u < units; ++u, x += kUnitCols, q += kUnitCols) {
    const size_t n = std::min<size_t>(kUnitCols, cols - u * kUnitCols);
    d[u] = QuantizeUnit(x, n, q);
    int sums[2] = {0, 0};
    for (size_t i = 0; i < kUnitCols; ++i) sums[i / 16] += q[i];
    for (int h = 0; h < 2; ++h) s[h][u] = d[u] * static_cast<float>(sums[h]);
  }
}

void store_kv_q8_0(const float* x, size_t n, void* out) {
  auto* block = static_cast<uint8_t*>(out);
  for (size_t i = 0; i < n; i += kQ8Block, block += kQ8BlockBytes)
    StoreF16(QuantizeUnit(x + i, std::min(kQ8Block, n - i), reinterpret_cast<int8_t*>(block + 2)), block);
}

}  // namespace onecopy::kernels::ref
