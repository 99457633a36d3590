// Quantisers against ggml's own bits where these are defined, and by the error they leave elsewhere.
#include "kernels/quantize.h"

#include <gtest/gtest.h>

#include "tests/unit/kernels/test_tables.h"

namespace onecopy::kernels {
namespace {

std::vector<uint8_t> Quantize(WeightType type, const std::vector<float>& x) {
  std::vector<uint8_t> blocks(RowBytes(Info(type), x.size()));
  FindQuantizer(type)(x.data(), blocks.data(), x.size());
  return blocks;
}

// Root of the mean squared error, relative to that of the values.
double RelativeError(WeightType type, const std::vector<float>& x) {
  const std::vector<uint8_t> blocks = Quantize(type, x);
  std::vector<float> decoded(x.size());
  Info(type).decode(blocks.data(), decoded.data(), x.size());
  double error = 0, norm = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    error += (static_cast<double>(x[i]) - decoded[i]) * (static_cast<double>(x[i]) - decoded[i]);
    norm += static_cast<double>(x[i]) * x[i];
  }
  return std::sqrt(error / norm);
}

TEST(Quantize, RoundsLikeGgmlBitForBit) {
  const std::vector<float> dense = ReadFile<float>(QuantGolden("dense.f32"));
  ASSERT_EQ(dense.size(), 4096u);
  for (const char* name : {"F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "MXFP4"}) {
    const auto expected = ReadFile<uint8_t>(QuantGolden(std::string(name) + ".dense.bin"));
    const WeightType type = FindTypeByName(name)->type;
    ASSERT_EQ(expected.size(), RowBytes(Info(type), dense.size())) << name;
    EXPECT_EQ(Quantize(type, dense), expected) << name;
  }
}

// Of normally distributed weights. A plain rounding over the range leaves 8 % at 4 bits (Q4_1), 3.8 % at 5 (Q5_1).
TEST(Quantize, SearchedTypesLeaveLessErrorThanRounding) {
  const std::vector<float> x = RandomVector(16384, 3);
  const struct {
    WeightType type;
    double most;
  } bounds[] = {{WeightType::kQ4_K, 0.075},
                {WeightType::kQ5_K, 0.0375},
                {WeightType::kQ6_K, 0.0185},
                {WeightType::kIQ4_NL, 0.076}};
  for (const auto& bound : bounds)
    EXPECT_LT(RelativeError(bound.type, x), bound.most) << TypeName(bound.type);
}

TEST(Quantize, ZerosConstantsAndOutliersStayFinite) {
  std::vector<float> x(1024, 0.0f);
  std::fill_n(x.begin() + 256, 256, 0.25f);
  std::fill_n(x.begin() + 512, 256, -0.25f);
  for (size_t i = 768; i < 1024; ++i) x[i] = i % 97 == 0 ? 30.0f : 1e-6f;
  for (const WeightType type : AllWeightTypes()) {
    if (FindQuantizer(type) == nullptr) continue;
    const std::vector<uint8_t> blocks = Quantize(type, x);
    std::vector<float> decoded(x.size());
    Info(type).decode(blocks.data(), decoded.data(), x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_TRUE(std::isfinite(decoded[i])) << TypeName(type) << " " << i;
      if (i < 256) {
        ASSERT_EQ(decoded[i], 0.0f) << TypeName(type) << " " << i;
      } else if (i < 768) {
        ASSERT_NEAR(decoded[i], x[i], 0.02 * 0.25) << TypeName(type) << " " << i;
      }
    }
  }
}

TEST(Quantize, TypesThatAreOnlyReadHaveNoQuantizer) {
  EXPECT_EQ(FindQuantizer(WeightType::kIQ2_XXS), nullptr);
  EXPECT_EQ(FindQuantizer(WeightType::kCount), nullptr);
}

}  // namespace
}  // namespace onecopy::kernels
