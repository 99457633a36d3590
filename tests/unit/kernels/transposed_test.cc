// Products with transposed matrices of every table against float64.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "tests/unit/kernels/test_tables.h"

namespace onecopy::kernels {
namespace {

class TransposedTest : public PerTable {
 protected:
  // y: [tokens][cols] of tokens [begin, begin + n) of x, [...][depth].
  std::vector<float> Run(const std::vector<float>& w, size_t depth, size_t cols, const std::vector<float>& x,
                         size_t begin, size_t n) {
    const TransposedKernel& kernel = table_->transposed;
    const AlignedBytes panels(kernel.panel_bytes(depth, cols));
    EXPECT_EQ(panels.size() % 64, 0u);
    kernel.pack(w.data(), depth, cols, panels.get());
    const size_t row_bytes = ActRowBytes(kernel.act, depth);
    const AlignedBytes rows(n * row_bytes);
    for (size_t t = 0; t < n; ++t)
      MakeActRow(*table_, kernel.act, &x[(begin + t) * depth], depth, rows.get() + t * row_bytes);
    const size_t stride = (cols + 31) / 32 * 32 + 5;
    std::vector<float> y(n * stride, -7.0f), out(n * cols);
    kernel.multiply(panels.get(), depth, cols, rows.get(), row_bytes, n, y.data(), stride);
    for (size_t t = 0; t < n; ++t) {
      std::copy_n(&y[t * stride], cols, &out[t * cols]);
      for (size_t i = stride - 5; i < stride; ++i) EXPECT_EQ(y[t * stride + i], -7.0f) << "token " << t;
    }
    return out;
  }

  void Check(size_t depth, size_t cols, size_t n) {
    SCOPED_TRACE(std::to_string(depth) + " x " + std::to_string(cols) + ", " + std::to_string(n) + " tokens");
    const std::vector<float> w = RandomVector(depth * cols, 1), x = RandomVector(n * depth, 2);
    const std::vector<float> y = Run(w, depth, cols, x, 0, n);
    // Both factors are rounded to bf16, each by at most 2^-8 of itself.
    const double rounding = table_->transposed.act == ActFormat::kBF16 ? 1.01 / (1 << 7) : 0;
    for (size_t t = 0; t < n; ++t) {
      for (size_t c = 0; c < cols; ++c) {
        double want = 0, norm = 0;
        for (size_t d = 0; d < depth; ++d) {
          const double term = double{x[t * depth + d]} * w[d * cols + c];
          want += term;
          norm += std::fabs(term);
        }
        ASSERT_NEAR(y[t * cols + c], want, norm * (rounding + static_cast<double>(depth + 4) / (1 << 24)))
            << "token " << t << " column " << c;
      }
    }
  }
};

TEST_P(TransposedTest, EqualsFloat64) {
  for (const size_t n : {1, 2, 11, 16, 17, 33, 70})
    for (const size_t cols : {1, 13, 32, 48}) Check(64, cols, n);
  for (const size_t depth : {1, 17, 96, 130}) Check(depth, 40, 19);
  Check(512, 128, 64);
}

TEST_P(TransposedTest, ATokenAloneHasTheSameBits) {
  constexpr size_t kDepth = 96, kCols = 40, kTokens = 37;
  const std::vector<float> w = RandomVector(kDepth * kCols, 3), x = RandomVector(kTokens * kDepth, 4);
  const std::vector<float> all = Run(w, kDepth, kCols, x, 0, kTokens);
  for (size_t t = 0; t < kTokens; ++t) {
    const std::vector<float> alone = Run(w, kDepth, kCols, x, t, 1);
    ASSERT_EQ(std::memcmp(alone.data(), &all[t * kCols], kCols * sizeof(float)), 0) << "token " << t;
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, TransposedTest, ::testing::ValuesIn(TableEntries()), TableName);

}  // namespace
}  // namespace onecopy::kernels
