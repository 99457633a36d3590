// The table of types. Of GGML: numbers from ggml.h (enum ggml_type), block sizes from ggml-common.h. Immutable.
#include "kernels/types.h"

#include <cassert>
#include <cstring>

#include "kernels/types/decoders.h"
#include "kernels/types/units.h"

namespace onecopy::kernels {
namespace {

constexpr WeightType kUnknown = WeightType::kCount;

// The computable types first, in the order of WeightType.
constexpr TypeInfo kTypes[] = {
    {"F32", 0, 1, 4, WeightType::kF32, DecodeF32},
    {"F16", 1, 1, 2, WeightType::kF16, DecodeF16},
    {"BF16", 30, 1, 2, WeightType::kBF16, DecodeBF16},
    {"Q8_0", 8, 32, 34, WeightType::kQ8_0, DecodeQ8_0},
    {"Q4_0", 2, 32, 18, WeightType::kQ4_0, DecodeQ4_0},
    {"Q4_K", 12, 256, 144, WeightType::kQ4_K, DecodeQ4K},
    {"Q5_K", 13, 256, 176, WeightType::kQ5_K, DecodeQ5K},
    {"Q6_K", 14, 256, 210, WeightType::kQ6_K, DecodeQ6K},
    {"MXFP4", 39, 32, 17, WeightType::kMXFP4, DecodeMXFP4},
    {"Q5_0", 6, 32, 22, WeightType::kQ5_0, DecodeQ5_0},
    {"Q4_1", 3, 32, 20, WeightType::kQ4_1, DecodeQ4_1},
    {"Q5_1", 7, 32, 24, WeightType::kQ5_1, DecodeQ5_1},
    {"IQ4_NL", 20, 32, 18, WeightType::kIQ4_NL, DecodeIQ4NL},
    {"IQ4_XS", 23, 256, 136, WeightType::kIQ4_XS, DecodeIQ4XS},
    {"Q3_K", 11, 256, 110, WeightType::kQ3_K, DecodeQ3K},
    {"Q2_K", 10, 256, 84, WeightType::kQ2_K, DecodeQ2K},
    {"IQ2_XXS", 16, 256, 66, WeightType::kIQ2_XXS, DecodeByUnit<kUnitsIQ2XXS>},
    {"IQ2_XS", 17, 256, 74, WeightType::kIQ2_XS, DecodeByUnit<kUnitsIQ2XS>},
    {"IQ2_S", 22, 256, 82, WeightType::kIQ2_S, DecodeByUnit<kUnitsIQ2S>},
    {"IQ3_XXS", 18, 256, 98, WeightType::kIQ3_XXS, DecodeByUnit<kUnitsIQ3XXS>},
    {"IQ3_S", 21, 256, 110, WeightType::kIQ3_S, DecodeByUnit<kUnitsIQ3S>},
    {"IQ1_S", 19, 256, 50, WeightType::kIQ1_S, DecodeByUnit<kUnitsIQ1S>},
    {"IQ1_M", 29, 256, 56, WeightType::kIQ1_M, DecodeByUnit<kUnitsIQ1M>},
    {"TQ1_0", 34, 256, 54, WeightType::kTQ1_0, DecodeByUnit<kUnitsTQ1_0>},
    {"TQ2_0", 35, 256, 66, WeightType::kTQ2_0, DecodeByUnit<kUnitsTQ2_0>},
    {"NVFP4", 40, 64, 36, WeightType::kNVFP4, DecodeByUnit<kUnitsNVFP4>},
    {"Q1_0", 41, 128, 18, WeightType::kQ1_0, DecodeQ1_0},
    {"F8_E4M3", kNotGgml, 128, 132, WeightType::kF8_E4M3, DecodeF8E4M3},
    {"INT8_BF16", kNotGgml, 32, 34, WeightType::kInt8_BF16, DecodeInt8BF16},
    {"INT4_BF16", kNotGgml, 32, 18, WeightType::kInt4_BF16, DecodeInt4BF16},
    {"INT4_32", kNotGgml, 32, 19, WeightType::kInt4_32, DecodeInt4<32>},
    {"INT4_64", kNotGgml, 64, 35, WeightType::kInt4_64, DecodeInt4<64>},
    {"INT4_128", kNotGgml, 128, 67, WeightType::kInt4_128, DecodeInt4<128>},
    // Known by name and size only.
    {"Q8_1", 9, 32, 36, kUnknown, nullptr},
    {"Q8_K", 15, 256, 292, kUnknown, nullptr},
    {"I8", 24, 1, 1, kUnknown, nullptr},
    {"I16", 25, 1, 2, kUnknown, nullptr},
    {"I32", 26, 1, 4, kUnknown, nullptr},
    {"I64", 27, 1, 8, kUnknown, nullptr},
    {"F64", 28, 1, 8, kUnknown, nullptr},
};

constexpr bool ComputableTypesAreInEnumOrder() {
  for (size_t i = 0; i < static_cast<size_t>(WeightType::kCount); ++i) {
    if (kTypes[i].type != static_cast<WeightType>(i)) return false;
  }
  return true;
}
static_assert(ComputableTypesAreInEnumOrder());

}  // namespace

const TypeInfo& Info(WeightType type) {
  assert(type < WeightType::kCount);
  return kTypes[static_cast<size_t>(type)];
}

const TypeInfo* FindGgmlType(uint32_t ggml_type) {
  for (const TypeInfo& info : kTypes) {
    if (info.ggml_type == ggml_type && ggml_type != kNotGgml) return &info;
  }
  return nullptr;
}

const TypeInfo* FindTypeByName(const char* name) {
  for (const TypeInfo& info : kTypes) {
    if (std::strcmp(info.name, name) == 0) return &info;
  }
  return nullptr;
}

}  // namespace onecopy::kernels
