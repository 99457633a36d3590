// Activations to int8 per 32 columns (kernels.h, Q8RowBytes). Not used by this table's own kernels, which
// take floats; the yardstick for the other tables' quantize_q8, which must give these very bits. Re-entrant.
#include <algorithm>
#include <cfloat>
#include <cmath>

#include "kernels/ref/ref.h"

namespace onecopy::kernels::ref {
namespace {

// Below this the reciprocal of d would overflow: such a unit counts as zero.
constexpr float kSmallestMax = 127 * FLT_MIN;

}  // namespace

void quantize_q8(const float* x, size_t cols, void* out) {
  const size_t units = (cols + kUnitCols - 1) / kUnitCols;
  auto* q = static_cast<int8_t*>(out);
  auto* d = reinterpret_cast<float*>(q + units * kUnitCols);
  float* s[2] = {d + units, d + 2 * units};
  for (size_t u = 0; u < units; ++u, x += kUnitCols, q += kUnitCols) {
    const size_t n = std::min<size_t>(kUnitCols, cols - u * kUnitCols);
    float max = 0, poison = 0;
    for (size_t i = 0; i < n; ++i) {
      max = std::max(max, std::fabs(x[i]));
      poison += x[i] - x[i];  // NaN from an infinity or a NaN, which must not become a plausible number
    }
    const bool zero = !(max >= kSmallestMax);
    const float scale = zero ? 0.0f : max / 127.0f;
    const float inverse = zero ? 0.0f : 1.0f / scale;
    int sums[2] = {0, 0};
    for (size_t i = 0; i < kUnitCols; ++i) {
      const float scaled = i < n ? x[i] * inverse : 0.0f;
      // A value that is not finite has no integer; its unit is NaN by `poison`.
      q[i] = std::fabs(scaled) <= 128.0f ? static_cast<int8_t>(std::nearbyintf(scaled)) : 0;
      sums[i / 16] += q[i];
    }
    d[u] = scale + poison;
    for (int h = 0; h < 2; ++h) s[h][u] = d[u] * static_cast<float>(sums[h]);
  }
}

}  // namespace onecopy::kernels::ref
