// Products with a matrix that lies transposed (kernels.h, TransposedKernel): its rows already are what a panel wants.
//   panels: [columns / 16][depth][16] float, columns behind the last zero
#include "kernels/avx2/panel_product.h"

namespace onecopy::kernels::avx2 {
namespace {

size_t PanelBytes(size_t depth, size_t cols) {
  return PaddedColumns(cols) * depth * sizeof(float);
}

void Pack(const float* w, size_t depth, size_t cols, void* panels) {
  auto* out = static_cast<float*>(panels);
  for (size_t c = 0; c < cols; c += kPanel) {
    const size_t width = cols - c < kPanel ? cols - c : kPanel;
    for (size_t d = 0; d < depth; ++d, out += kPanel)
      for (size_t i = 0; i < kPanel; ++i) out[i] = i < width ? w[d * cols + c + i] : 0.0f;
  }
}

void Multiply(const void* panels, size_t depth, size_t cols, const void* x, size_t x_bytes, size_t n_tokens,
              float* y, size_t y_stride) {
  const auto* rows = static_cast<const uint8_t*>(x);
  for (size_t c = 0; c < cols; c += kPanel) {
    const float* panel = static_cast<const float*>(panels) + c * depth;
    for (size_t t = 0; t < n_tokens; t += kRows) {
      const size_t n = n_tokens - t < kRows ? n_tokens - t : kRows;
      const float* a[kRows];
      for (size_t r = 0; r < n; ++r) a[r] = reinterpret_cast<const float*>(rows + (t + r) * x_bytes);
      Product(a, n, panel, depth, false, y + t * y_stride + c, y_stride);
    }
  }
}

}  // namespace

constinit const TransposedKernel transposed = {ActFormat::kF32, PanelBytes, Pack, Multiply};

}  // namespace onecopy::kernels::avx2
