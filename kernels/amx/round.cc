// Activations to bf16 (kernels.h, kBF16), bit for bit as ref/round.cc.
#include <immintrin.h>

#include "kernels/amx/amx.h"

namespace onecopy::kernels::amx {

void round_bf16(const float* x, size_t cols, void* out) {
  auto* line = static_cast<uint8_t*>(out);
  for (size_t c = 0; c < cols; c += 32, line += 64) {
    const size_t left = cols - c;
    const auto mask = left < 32 ? (uint32_t{1} << left) - 1 : ~uint32_t{0};
    const __m512 low = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask), x + c);
    const __m512 high = _mm512_maskz_loadu_ps(static_cast<__mmask16>(mask >> 16), x + c + 16);
    _mm512_storeu_si512(line, (__m512i)_mm512_cvtne2ps_pbh(high, low));
  }
}

}  // namespace onecopy::kernels::amx
