// Q4_0 to bf16.
#include "kernels/amx/amx.h"
#include "kernels/amx/bf16_matmul.h"

namespace onecopy::kernels::amx {
namespace {

struct Q4_0 {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = 18 * kRowTile;

  static void Decode(const uint8_t*, const uint8_t* p, uint8_t* out) {
    StoreNibbles(out, p + 2 * kRowTile, MakeAffine<kUnits4>(LoadF16(p), 8.0f));
  }
};

}  // namespace

void matmul_q4_0(const PackedMatrix& w, const void* const* x, float* const* y, size_t n_tokens,
                 uint32_t row_begin, uint32_t row_end) {
  MatmulBf16<Q4_0>(w, x, y, n_tokens, row_begin, row_end);
}

void matmul_sum_q4_0(const PackedMatrix& w, const void* const* x, double* const* y, size_t n_tokens,
                     uint32_t row_begin, uint32_t row_end) {
  MatmulBf16<Q4_0>(w, x, y, n_tokens, row_begin, row_end);
}

}  // namespace onecopy::kernels::amx
