// matmul_sum: the terms of a sum over shards do not depend on where the matrix was cut.
#include <gtest/gtest.h>

#include "tests/unit/kernels/test_tables.h"

namespace onecopy::kernels {
namespace {

constexpr uint32_t kRows = 19, kCols = 768;
constexpr size_t kTokens = 6;

class MatmulSum : public ::testing::TestWithParam<std::tuple<const TableEntry*, WeightType>> {
 protected:
  void SetUp() override {
    ONECOPY_SKIP_UNLESS_SUPPORTED(std::get<0>(GetParam()));
    table_ = &std::get<0>(GetParam())->table();
    type_ = std::get<1>(GetParam());
    kernel_ = table_->weights[static_cast<size_t>(type_)];
  }

  // [tokens][rows] of columns [first, first + cols) of the matrix.
  std::vector<std::vector<double>> Terms(const FileMatrix& file, uint32_t first, uint32_t cols) const {
    const Shard shard = Pack(file, kernel_.row_tile, first, cols);
    const size_t row_bytes = ActRowBytes(kernel_.act, cols);
    const AlignedBytes acts(kTokens * row_bytes);
    std::vector<const void*> x;
    std::vector<std::vector<double>> y(kTokens, std::vector<double>(kRows, std::nan("")));
    std::vector<double*> out;
    for (size_t t = 0; t < kTokens; ++t) {
      const std::vector<float> token = RandomVector(kCols, static_cast<uint32_t>(t));
      uint8_t* row = acts.get() + t * row_bytes;
      if (kernel_.act == ActFormat::kQ8) {
        table_->quantize_q8(token.data() + first, cols, row);
      } else {
        std::memcpy(row, token.data() + first, cols * sizeof(float));
      }
      x.push_back(row);
      out.push_back(y[t].data());
    }
    kernel_.matmul_sum(shard.matrix, x.data(), out.data(), kTokens, 0, kRows);
    return y;
  }

  const KernelTable* table_ = nullptr;
  WeightType type_ = WeightType::kCount;
  WeightKernel kernel_;
};

TEST_P(MatmulSum, IsTheSameFloatForEveryCut) {
  const FileMatrix file = RandomMatrix(type_, kRows, kCols, 5);
  const auto whole = Terms(file, 0, kCols);
  const std::vector<std::vector<uint32_t>> cuts = {{384}, {32}, {96, 256, 288}, {224, 480, 736}};
  for (const auto& cut : cuts) {
    std::vector<std::vector<double>> sum(kTokens, std::vector<double>(kRows));
    for (size_t i = 0; i <= cut.size(); ++i) {
      const uint32_t first = i == 0 ? 0 : cut[i - 1], end = i == cut.size() ? kCols : cut[i];
      const auto terms = Terms(file, first, end - first);
      for (size_t t = 0; t < kTokens; ++t)
        for (uint32_t r = 0; r < kRows; ++r) sum[t][r] += terms[t][r];
    }
    for (size_t t = 0; t < kTokens; ++t)
      for (uint32_t r = 0; r < kRows; ++r)
        ASSERT_EQ(static_cast<float>(sum[t][r]), static_cast<float>(whole[t][r]))
            << "token " << t << " row " << r << " first cut " << cut[0];
  }
}

TEST_P(MatmulSum, AgreesWithMatmul) {
  const FileMatrix file = RandomMatrix(type_, kRows, kCols, 6);
  const auto sums = Terms(file, 0, kCols);
  const Shard shard = Pack(file, kernel_.row_tile, 0, kCols);
  for (size_t t = 0; t < kTokens; ++t) {
    const std::vector<float> token = RandomVector(kCols, static_cast<uint32_t>(t));
    const AlignedBytes row(ActRowBytes(kernel_.act, kCols));
    if (kernel_.act == ActFormat::kQ8) {
      table_->quantize_q8(token.data(), kCols, row.get());
    } else {
      std::memcpy(row.get(), token.data(), kCols * sizeof(float));
    }
    std::vector<float> y(kRows);
    const void* x = row.get();
    float* out = y.data();
    kernel_.matmul(shard.matrix, &x, &out, 1, 0, kRows);
    for (uint32_t r = 0; r < kRows; ++r) {
      // Float sums of 768 terms against double ones: what rounding may make of the sum of absolute values.
      double norm = 0;
      const std::vector<float> weights = file.Row(r);
      float largest = 0;
      for (float w : weights) largest = std::max(largest, std::fabs(w));
      for (float v : token) norm += std::fabs(v) * largest;
      ASSERT_NEAR(y[r], sums[t][r], 4e-6 * norm) << "token " << t << " row " << r;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, MatmulSum,
                         ::testing::Combine(::testing::ValuesIn(TableEntries()),
                                            ::testing::ValuesIn(AllWeightTypes())),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param)->name) + "_" +
                                  TypeName(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace onecopy::kernels
