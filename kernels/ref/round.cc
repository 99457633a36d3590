// Activations to bf16 (kernels.h, kBF16). Not used by this table's own kernels; the yardstick for the other tables'
// round_bf16, which must give these very bits. Re-entrant.
#include <algorithm>
#include <bit>
#include <cfloat>
#include <cmath>

#include "kernels/ref/ref.h"

namespace onecopy::kernels::ref {
namespace {

uint16_t RoundBf16(float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  if (std::isnan(x))
    return static_cast<uint16_t>(bits >> 16 | 0x40);  // quiet; its fraction may lie in the lower half
  if (std::fabs(x) < FLT_MIN) return static_cast<uint16_t>(bits >> 16 & 0x8000);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace

void round_bf16(const float* x, size_t cols, void* out) {
  auto* to = static_cast<uint16_t*>(out);
  const size_t padded = (cols + kUnitCols - 1) / kUnitCols * kUnitCols;
  for (size_t c = 0; c < cols; ++c) to[c] = RoundBf16(x[c]);
  std::fill(to + cols, to + padded, uint16_t{0});
}

}  // namespace onecopy::kernels::ref
