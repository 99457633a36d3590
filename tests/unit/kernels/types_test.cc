// Weight types against ggml's own bits (tests/data/goldens/quants, made by the gguf package and checked
// against ggml's C code).
#include "kernels/types.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/unit/kernels/test_tables.h"

namespace onecopy::kernels {
namespace {

nlohmann::json Index() {
  std::ifstream in(QuantGolden("index.json"));
  return nlohmann::json::parse(in);
}

TEST(WeightTypes, NumbersAndBlocksAreThoseOfGgml) {
  const nlohmann::json index = Index();
  ASSERT_GE(index["types"].size(), 20u);
  for (const auto& [name, golden] : index["types"].items()) {
    const TypeInfo* info = FindTypeByName(name.c_str());
    ASSERT_NE(info, nullptr) << name;
    EXPECT_EQ(info->ggml_type, golden["ggml_type"]) << name;
    EXPECT_EQ(info->block_cols, golden["block_size"]) << name;
    EXPECT_EQ(info->block_bytes, golden["type_size"]) << name;
    EXPECT_EQ(FindGgmlType(golden["ggml_type"]), info) << name;
  }
}

TEST(WeightTypes, TypesWithoutGoldensHaveTheirSizes) {
  const struct {
    const char* name;
    uint32_t number, cols, bytes;
  } expected[] = {{"F32", 0, 1, 4},  {"Q8_1", 9, 32, 36}, {"Q8_K", 15, 256, 292}, {"I8", 24, 1, 1},
                  {"I16", 25, 1, 2}, {"I32", 26, 1, 4},   {"I64", 27, 1, 8},      {"F64", 28, 1, 8}};
  for (const auto& type : expected) {
    const TypeInfo* info = FindTypeByName(type.name);
    ASSERT_NE(info, nullptr) << type.name;
    EXPECT_EQ(info->ggml_type, type.number);
    EXPECT_EQ(info->block_cols, type.cols);
    EXPECT_EQ(info->block_bytes, type.bytes);
  }
}

TEST(WeightTypes, UnknownNumbersAndNamesAreNull) {
  for (const uint32_t removed : {4u, 5u, 31u, 32u, 33u, 36u, 37u, 38u})
    EXPECT_EQ(FindGgmlType(removed), nullptr);
  EXPECT_EQ(FindGgmlType(UINT32_MAX), nullptr);
  EXPECT_EQ(FindTypeByName("Q4_k"), nullptr);
  EXPECT_EQ(FindTypeByName(""), nullptr);
}

TEST(WeightTypes, ExactlyTheComputableTypesDecode) {
  for (uint32_t number = 0; number < 64; ++number) {
    const TypeInfo* info = FindGgmlType(number);
    if (info == nullptr) continue;
    EXPECT_EQ(info->decode != nullptr, info->type != WeightType::kCount) << info->name;
    if (info->decode != nullptr) {
      EXPECT_EQ(&Info(info->type), info);
    }
  }
}

// The scales at the ends of E8M0's range, where half of it is subnormal or as large as a float can hold.
TEST(WeightTypes, MXFP4ScalesReachFromSubnormalToTheLargest) {
  const TypeInfo& info = Info(WeightType::kMXFP4);
  uint8_t block[17] = {};
  block[1] = 0xA2;   // column 0: 2 / 2, column 16: -2 / 2
  block[16] = 0xF7;  // column 15: 12 / 2, column 31: -12 / 2
  float out[32];
  for (const int exponent : {0, 1, 2, 127, 250}) {
    block[0] = static_cast<uint8_t>(exponent);
    info.decode(block, out, 32);
    const double scale = std::ldexp(1.0, exponent - 127);
    EXPECT_EQ(out[0], scale) << exponent;
    EXPECT_EQ(out[16], -scale) << exponent;
    EXPECT_EQ(out[15], 6 * scale) << exponent;
    EXPECT_EQ(out[31], -6 * scale) << exponent;
    EXPECT_EQ(out[1], 0.0f) << exponent;
  }
}

class DecodesLikeGgml : public ::testing::TestWithParam<WeightType> {};

// Bit for bit, from blocks at an odd address.
TEST_P(DecodesLikeGgml, BitForBit) {
  const TypeInfo& info = Info(GetParam());
  std::vector<uint8_t> blocks;
  std::vector<float> expected;
  if (GetParam() == WeightType::kF32) {  // has no golden of its own
    blocks = ReadFile<uint8_t>(QuantGolden("dense.f32"));
    expected = ReadFile<float>(QuantGolden("dense.f32"));
  } else {
    blocks = ReadFile<uint8_t>(QuantGolden(std::string(info.name) + ".bin"));
    expected = ReadFile<float>(QuantGolden(std::string(info.name) + ".f32"));
  }
  ASSERT_GE(expected.size(), 4096u);
  ASSERT_EQ(blocks.size(), RowBytes(info, expected.size()));
  std::vector<uint8_t> shifted(blocks.size() + 1);
  std::memcpy(shifted.data() + 1, blocks.data(), blocks.size());
  std::vector<float> decoded(expected.size());
  info.decode(shifted.data() + 1, decoded.data(), decoded.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    uint32_t want, got;
    std::memcpy(&want, &expected[i], sizeof want);
    std::memcpy(&got, &decoded[i], sizeof got);
    ASSERT_EQ(got, want) << "element " << i << ": " << decoded[i] << " instead of " << expected[i];
  }
}

INSTANTIATE_TEST_SUITE_P(Types, DecodesLikeGgml, ::testing::ValuesIn(AllWeightTypes()),
                         [](const auto& info) { return TypeName(info.param); });

}  // namespace
}  // namespace onecopy::kernels
