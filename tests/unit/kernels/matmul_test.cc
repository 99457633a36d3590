// Matmul of every table and weight type against float64 sums of what the block decoders give, and against the
// goldens' products, within the bounds of matmul_bounds.h.
#include <gtest/gtest.h>

#include <tuple>

#include "tests/unit/kernels/matmul_bounds.h"
#include "tests/unit/kernels/test_tables.h"

namespace onecopy::kernels {
namespace {

// [tokens][rows], all NaN.
std::vector<std::vector<float>> Output(size_t tokens, uint32_t rows) {
  return std::vector<std::vector<float>>(tokens, std::vector<float>(rows, std::nanf("")));
}

void Multiply(const MatmulKernel& kernel, const Shard& w, const Activations& x, size_t n_tokens,
              uint32_t begin, uint32_t end, std::vector<std::vector<float>>* y) {
  std::vector<float*> out;
  for (size_t t = 0; t < n_tokens; ++t) out.push_back((*y)[t].data());
  kernel.matmul(w.matrix, x.pointers(), out.data(), n_tokens, begin, end);
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// The kernel for few tokens or that for many. Each must do any number of tokens.
enum class Which { kFew, kMany };
using TableAndType = std::tuple<const TableEntry*, WeightType, Which>;

class Matmul : public ::testing::TestWithParam<TableAndType> {
 protected:
  void SetUp() override {
    ONECOPY_SKIP_UNLESS_SUPPORTED(std::get<0>(GetParam()));
    table_ = &std::get<0>(GetParam())->table();
    type_ = std::get<1>(GetParam());
    const WeightKernel& kernels = table_->weights[static_cast<size_t>(type_)];
    row_tile_ = kernels.row_tile;
    kernel_ = static_cast<const MatmulKernel&>(kernels);  // of few tokens
    if (std::get<2>(GetParam()) == Which::kMany) {
      if (!kernels.has_many()) GTEST_SKIP() << "one kernel for any number of tokens";
      kernel_ = kernels.many;
    }
    if (kernel_.matmul == nullptr) GTEST_SKIP() << "a table without a kernel for this type";
  }
  std::vector<std::vector<float>> Tokens(size_t n, uint32_t cols) const {
    std::vector<std::vector<float>> tokens;
    for (size_t t = 0; t < n; ++t) {
      tokens.push_back(RandomVector(cols, 100 * cols + static_cast<uint32_t>(t)));
      // Outliers, as real activations have, and a token with a unit of zeros.
      tokens.back()[cols / 2] = 40.0f;
      if (t % 3 == 1) std::fill_n(tokens.back().begin(), std::min(cols, 32u), 0.0f);
    }
    return tokens;
  }
  void CheckShape(uint32_t rows, uint32_t cols, uint32_t first_col);

  const KernelTable* table_ = nullptr;
  WeightType type_ = WeightType::kCount;
  uint32_t row_tile_ = 1;
  MatmulKernel kernel_;
};

void Matmul::CheckShape(uint32_t rows, uint32_t cols, uint32_t first_col) {
  constexpr size_t kTokens = 3;
  const FileMatrix file =
      RandomMatrix(type_, rows, (first_col + cols + 255) / 256 * 256, rows + cols + first_col);
  const Shard w = Pack(file, row_tile_, first_col, cols);
  const std::vector<std::vector<float>> tokens = Tokens(kTokens, cols);
  const Activations x(*table_, kernel_.act, tokens);
  auto y = Output(kTokens, rows);
  Multiply(kernel_, w, x, kTokens, 0, rows, &y);
  for (uint32_t r = 0; r < rows; ++r) {
    const std::vector<float> row = file.Row(r);
    const std::vector<float> weights(row.begin() + first_col, row.begin() + first_col + cols);
    for (size_t t = 0; t < kTokens; ++t) {
      const Bound bound = ExactProduct(weights, x.Dequantised(t), tokens[t], x, t, kernel_, type_);
      ASSERT_NEAR(y[t][r], bound.seen, bound.rounding)
          << "rows " << rows << ", columns " << first_col << "+" << cols << ", row " << r << ", token " << t;
      ASSERT_NEAR(y[t][r], bound.given, bound.rounding + bound.step)
          << "rows " << rows << ", columns " << first_col << "+" << cols << ", row " << r << ", token " << t;
    }
  }
}

TEST_P(Matmul, EqualsFloat64ForOddRowsAndColumns) {
  for (const uint32_t rows : {1u, 3u, 8u, 17u, 31u}) {
    for (const uint32_t cols : {32u, 96u, 256u, 288u, 768u, 2048u}) CheckShape(rows, cols, 0);
  }
}

TEST_P(Matmul, EqualsFloat64ForShardsInsideBlocks) {
  for (const uint32_t first_col : {32u, 96u, 224u, 480u}) {
    for (const uint32_t cols : {32u, 96u, 256u, 384u, 512u}) CheckShape(9, cols, first_col);
  }
}

TEST_P(Matmul, EqualsFloat64ForAnyColumnsOfFloatTypes) {
  if (Info(type_).block_cols != 1) return;
  for (const uint32_t cols : {1u, 7u, 17u, 63u, 65u, 301u}) CheckShape(5, cols, 3);
}

// The reference answers for each token alone; any number of tokens at once must give the same bits, so that
// batching does not change what a model says.
TEST_P(Matmul, AnyNumberOfTokensGivesTheSameBits) {
  for (const uint32_t cols : {96u, 2048u}) {
    // Beyond 64 tokens the activations of 2048 columns exceed one token block of the avx2 kernels.
    const size_t most = cols == 96 ? 40 : 131;
    const uint32_t rows = cols == 96 ? 43 : 11;  // three row tiles of 16, of which two may be taken together
    const Shard w = Pack(RandomMatrix(type_, rows, 2048, cols), row_tile_, 32 * (cols == 96), cols);
    const Activations x(*table_, kernel_.act, Tokens(most, cols));
    auto alone = Output(most, rows);
    for (size_t t = 0; t < most; ++t) {
      float* y = alone[t].data();
      kernel_.matmul(w.matrix, x.pointers() + t, &y, 1, 0, rows);
    }
    for (size_t n = 1; n <= most; n += n < 40 ? 1 : 13) {
      auto y = Output(n, rows);
      Multiply(kernel_, w, x, n, 0, rows, &y);
      for (size_t t = 0; t < n; ++t) ASSERT_TRUE(SameBits(y[t], alone[t])) << "token " << t << " of " << n;
    }
  }
}

TEST_P(Matmul, AnyNumberOfTokensGivesTheSameBitsInSumsToo) {
  const uint32_t rows = 43, cols = 320;
  const size_t most = 21;
  const Shard w = Pack(RandomMatrix(type_, rows, 768, 18), row_tile_, 96, cols);
  const Activations x(*table_, kernel_.act, Tokens(most, cols));
  const auto sums = [&](size_t first, size_t n) {
    std::vector<std::vector<double>> y(n, std::vector<double>(rows, std::nan("")));
    std::vector<double*> out;
    for (auto& values : y) out.push_back(values.data());
    kernel_.matmul_sum(w.matrix, x.pointers() + first, out.data(), n, 0, rows);
    return y;
  };
  std::vector<std::vector<double>> alone;
  for (size_t t = 0; t < most; ++t) alone.push_back(sums(t, 1)[0]);
  for (size_t n = 1; n <= most; ++n) {
    const auto y = sums(0, n);
    for (size_t t = 0; t < n; ++t)
      ASSERT_EQ(std::memcmp(y[t].data(), alone[t].data(), rows * sizeof(double)), 0)
          << "token " << t << " of " << n;
  }
}

// One buffer of rows, as exec has it; the other tests have rows anywhere.
TEST_P(Matmul, RowsAtAFixedDistanceGiveTheSameBits) {
  const uint32_t rows = 40, cols = 544;
  const size_t n = 21, row_bytes = ActRowBytes(kernel_.act, cols);
  const Shard w = Pack(RandomMatrix(type_, rows, 768, 17), row_tile_, 96, cols);
  const std::vector<std::vector<float>> tokens = Tokens(n, cols);
  const Activations x(*table_, kernel_.act, tokens);
  auto apart = Output(n, rows), together = Output(n, rows);
  Multiply(kernel_, w, x, n, 0, rows, &apart);
  const AlignedBytes buffer(n * row_bytes);
  std::vector<const void*> in;
  std::vector<float*> out;
  for (size_t t = 0; t < n; ++t) {
    MakeActRow(*table_, kernel_.act, tokens[t].data(), cols, buffer.get() + t * row_bytes);
    in.push_back(buffer.get() + t * row_bytes);
    out.push_back(together[t].data());
  }
  kernel_.matmul(w.matrix, in.data(), out.data(), n, 0, rows);
  for (size_t t = 0; t < n; ++t) EXPECT_TRUE(SameBits(apart[t], together[t])) << "token " << t;
}

TEST_P(Matmul, AnySplitOfRowsGivesTheSameBitsAndWritesNothingElse) {
  const uint32_t rows = 45, cols = 288;
  const Shard w = Pack(RandomMatrix(type_, rows, 512, 11), row_tile_, 0, cols);
  const Activations x(*table_, kernel_.act, Tokens(5, cols));
  auto whole = Output(5, rows);
  Multiply(kernel_, w, x, 5, 0, rows, &whole);
  auto pieces = Output(5, rows);
  uint32_t begin = 0;
  for (const uint32_t tiles : {1u, 3u, 100u}) {
    const uint32_t end = std::min(rows, begin + tiles * row_tile_);
    Multiply(kernel_, w, x, 5, begin, end, &pieces);
    for (const std::vector<float>& y : pieces) {
      for (uint32_t r = end; r < rows; ++r) ASSERT_TRUE(std::isnan(y[r])) << "row " << r << " beyond " << end;
    }
    begin = end;
  }
  for (size_t t = 0; t < 5; ++t) EXPECT_TRUE(SameBits(pieces[t], whole[t])) << "token " << t;
}

TEST_P(Matmul, NotANumberInAnActivationIsNotANumberInTheResult) {
  const Shard w = Pack(RandomMatrix(type_, 8, 256, 12), row_tile_, 0, 256);
  for (const float bad : {std::nanf(""), HUGE_VALF, -HUGE_VALF}) {
    std::vector<std::vector<float>> tokens = Tokens(1, 256);
    tokens[0][70] = bad;
    const Activations x(*table_, kernel_.act, tokens);
    auto y = Output(1, 8);
    std::fill(y[0].begin(), y[0].end(), 0.0f);
    Multiply(kernel_, w, x, 1, 0, 8, &y);
    for (const float value : y[0]) EXPECT_FALSE(std::isfinite(value)) << "from " << bad;
  }
}

// Where the quants of a block lie, with the bits beyond the fourth.
std::pair<size_t, size_t> QuantBytes(WeightType type) {
  const size_t bytes = Info(type).block_bytes;
  switch (type) {
    case WeightType::kMXFP4:
      return {1, bytes};
    case WeightType::kQ8_0:
    case WeightType::kQ4_0:
    case WeightType::kQ5_0:
    case WeightType::kIQ4_NL:
    case WeightType::kIQ2_XXS:
    case WeightType::kIQ2_XS:
    case WeightType::kIQ2_S:
    case WeightType::kIQ3_XXS:
    case WeightType::kIQ3_S:
    case WeightType::kIQ1_S:
    case WeightType::kQ1_0:
    case WeightType::kInt8_BF16:
    case WeightType::kInt4_BF16:
      return {2, bytes};
    case WeightType::kInt4_32:
    case WeightType::kInt4_64:
    case WeightType::kInt4_128:
      return {3, bytes};
    case WeightType::kQ4_1:
    case WeightType::kQ5_1:
    case WeightType::kF8_E4M3:
      return {4, bytes};
    case WeightType::kQ6_K:
      return {0, 192};
    case WeightType::kQ3_K:
      return {0, 96};
    case WeightType::kQ2_K:
      return {16, 80};
    case WeightType::kIQ4_XS:
      return {8, bytes};
    case WeightType::kTQ1_0:
      return {0, 52};
    case WeightType::kTQ2_0:
      return {0, 64};
    case WeightType::kNVFP4:
      return {4, bytes};
    case WeightType::kIQ1_M:
      return {0, 48};
    default:
      return {16, bytes};
  }
}

// The greatest operands that exist: 16-bit sums inside a kernel must not saturate.
TEST_P(Matmul, ExtremeQuantsDoNotSaturate) {
  FileMatrix file = RandomMatrix(type_, 8, 256, 13);
  const TypeInfo& info = Info(type_);
  if (info.block_cols == 1) return;
  const auto [quants, end] = QuantBytes(type_);
  // The level of greatest size of IQ4 is the lowest; the greatest code of E4M3 that is a number is 0x7e.
  const bool iq4 = type_ == WeightType::kIQ4_NL || type_ == WeightType::kIQ4_XS;
  const uint8_t fill = type_ == WeightType::kQ8_0 || type_ == WeightType::kInt8_BF16 ? 0x80
                       : type_ == WeightType::kF8_E4M3                               ? 0xfe
                       : iq4                                                         ? 0
                                                                                     : 0xff;
  for (size_t at = 0; at < file.bytes.size(); at += info.block_bytes) {
    std::memset(file.bytes.data() + at + quants, fill, end - quants);
  }
  const Shard w = Pack(file, row_tile_, 0, 256);
  for (const float sign : {1.0f, -1.0f}) {
    const std::vector<std::vector<float>> tokens(4, std::vector<float>(256, sign * 3.0f));
    const Activations x(*table_, kernel_.act, tokens);
    auto y = Output(4, 8);
    Multiply(kernel_, w, x, 4, 0, 8, &y);
    for (uint32_t r = 0; r < 8; ++r) {
      const Bound bound = ExactProduct(file.Row(r), x.Dequantised(0), tokens[0], x, 0, kernel_, type_);
      ASSERT_NEAR(y[0][r], bound.seen, bound.rounding) << "row " << r;
    }
  }
}

// Shards cut by columns are summed over ranks: however the matrix is cut, the total is the same but for the rounding of
// double, and it is the product that float64 gives.
TEST_P(Matmul, SumOverColumnShardsDoesNotDependOnTheCut) {
  const uint32_t rows = 11, cols = 768;
  const size_t n_tokens = 5;
  const FileMatrix file = RandomMatrix(type_, rows, cols, 16);
  const std::vector<std::vector<float>> tokens = Tokens(n_tokens, cols);
  const Activations x(*table_, kernel_.act, tokens);
  const std::vector<std::vector<uint32_t>> cuts = {
      {768}, {384, 768}, {32, 96, 288, 320, 768}, {256, 512, 768}};
  std::vector<std::vector<std::vector<double>>> totals;
  for (const std::vector<uint32_t>& cut : cuts) {
    std::vector<std::vector<double>> total(n_tokens, std::vector<double>(rows, 0.0));
    uint32_t first = 0;
    for (const uint32_t end : cut) {
      const Shard w = Pack(file, row_tile_, first, end - first);
      std::vector<std::vector<float>> part;
      part.reserve(n_tokens);
      for (const auto& token : tokens) part.emplace_back(token.begin() + first, token.begin() + end);
      const Activations x_part(*table_, kernel_.act, part);
      std::vector<std::vector<double>> y(n_tokens, std::vector<double>(rows, std::nan("")));
      std::vector<double*> out;
      out.reserve(n_tokens);
      for (auto& values : y) out.push_back(values.data());
      kernel_.matmul_sum(w.matrix, x_part.pointers(), out.data(), n_tokens, 0, rows);
      for (size_t t = 0; t < n_tokens; ++t) {
        for (uint32_t r = 0; r < rows; ++r) total[t][r] += y[t][r];
      }
      first = end;
    }
    totals.push_back(total);
  }
  for (size_t t = 0; t < n_tokens; ++t) {
    for (uint32_t r = 0; r < rows; ++r) {
      const Bound bound = ExactProduct(file.Row(r), x.Dequantised(t), tokens[t], x, t, kernel_, type_);
      ASSERT_NEAR(totals[0][t][r], bound.seen, bound.rounding) << "row " << r << ", token " << t;
      // 24 terms of one unit, summed in either order: each addition rounds by at most 2^-53 of the norm.
      const double rounding = 2 * 24 * std::ldexp(bound.norm, -53);
      for (size_t c = 1; c < cuts.size(); ++c) {
        ASSERT_NEAR(totals[c][t][r], totals[0][t][r], rounding)
            << "cut " << c << ", row " << r << ", token " << t;
      }
    }
  }
}

// The goldens' product is ggml's values times x, summed in float64 by NumPy.
TEST_P(Matmul, EqualsTheGoldenProduct) {
  const std::string name = TypeName(type_);
  if (type_ == WeightType::kF32) return;  // no golden
  const TypeInfo& info = Info(type_);
  const FileMatrix file = {type_, 8, 512, RowBytes(info, 512), ReadFile<uint8_t>(QuantGolden(name + ".bin"))};
  const std::vector<float> expected = ReadFile<float>(QuantGolden(name + ".product.f32"));
  ASSERT_EQ(expected.size(), 8u);
  const Shard w = Pack(file, row_tile_, 0, 512);
  const std::vector<std::vector<float>> tokens = {ReadFile<float>(QuantGolden("x.f32"))};
  ASSERT_EQ(tokens[0].size(), 512u);
  const Activations x(*table_, kernel_.act, tokens);
  auto y = Output(1, 8);
  Multiply(kernel_, w, x, 1, 0, 8, &y);
  for (uint32_t r = 0; r < 8; ++r) {
    const Bound bound = ExactProduct(file.Row(r), x.Dequantised(0), tokens[0], x, 0, kernel_, type_);
    const double golden_rounding = kUlp * std::fabs(expected[r]);
    EXPECT_NEAR(y[0][r], expected[r], bound.rounding + bound.step + golden_rounding) << "row " << r;
  }
}

// `ref` is the oracle of everything above it: one part in a million of sum |w||x|, whatever the length.
TEST(RefMatmul, IsWithinAMillionthOfFloat64) {
  const KernelTable& ref = AllTables().back().table();
  ASSERT_STREQ(ref.name, "ref");
  for (const WeightType type : AllWeightTypes()) {
    const FileMatrix file = RandomMatrix(type, 4, 7168, 14);
    const WeightKernel& kernel = ref.weights[static_cast<size_t>(type)];
    const Shard w = Pack(file, kernel.row_tile, 0, 7168);
    const std::vector<float> token = RandomVector(7168, 15);
    const Activations x(ref, kernel.act, {token});
    auto y = Output(1, 4);
    Multiply(kernel, w, x, 1, 0, 4, &y);
    for (uint32_t r = 0; r < 4; ++r) {
      const std::vector<float> weights = file.Row(r);
      double exact = 0, norm = 0;
      for (size_t c = 0; c < 7168; ++c) {
        exact += static_cast<double>(weights[c]) * token[c];
        norm += std::fabs(static_cast<double>(weights[c]) * token[c]);
      }
      EXPECT_NEAR(y[0][r], exact, 1e-6 * norm) << TypeName(type) << " row " << r;
    }
  }
}

std::string MatmulName(const ::testing::TestParamInfo<TableAndType>& info) {
  return std::string(std::get<0>(info.param)->name) + "_" + TypeName(std::get<1>(info.param)) +
         (std::get<2>(info.param) == Which::kMany ? "_many" : "");
}

INSTANTIATE_TEST_SUITE_P(Tables, Matmul,
                         ::testing::Combine(::testing::ValuesIn(TableEntries()),
                                            ::testing::ValuesIn(AllWeightTypes()),
                                            ::testing::Values(Which::kFew, Which::kMany)),
                         MatmulName);

}  // namespace
}  // namespace onecopy::kernels
