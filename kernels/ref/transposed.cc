// Products with a matrix that lies transposed (kernels.h, TransposedKernel), as it lies; sums in double.
#include "kernels/ref/ref.h"

namespace onecopy::kernels::ref {
namespace {

size_t PanelBytes(size_t depth, size_t cols) {
  return (depth * cols * sizeof(float) + 63) / 64 * 64;
}

void Pack(const float* w, size_t depth, size_t cols, void* panels) {
  std::memcpy(panels, w, depth * cols * sizeof(float));
}

void Multiply(const void* panels, size_t depth, size_t cols, const void* x, size_t x_bytes, size_t n_tokens,
              float* y, size_t y_stride) {
  const auto* w = static_cast<const float*>(panels);
  for (size_t t = 0; t < n_tokens; ++t) {
    const auto* row = reinterpret_cast<const float*>(static_cast<const uint8_t*>(x) + t * x_bytes);
    for (size_t c = 0; c < cols; ++c) {
      double sum = 0;
      for (size_t d = 0; d < depth; ++d) sum += double{row[d]} * w[d * cols + c];
      y[t * y_stride + c] = static_cast<float>(sum);
    }
  }
}

}  // namespace

constinit const TransposedKernel transposed = {ActFormat::kF32, PanelBytes, Pack, Multiply};

}  // namespace onecopy::kernels::ref
