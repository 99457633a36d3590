// The table of quantisers. Immutable.
#include "kernels/quantize.h"

#include "kernels/quantize/quantizers.h"

namespace onecopy::kernels {

QuantizeFn FindQuantizer(WeightType type) {
  switch (type) {
    case WeightType::kF32:
      return QuantizeF32;
    case WeightType::kF16:
      return QuantizeF16;
    case WeightType::kBF16:
      return QuantizeBF16;
    case WeightType::kQ8_0:
      return QuantizeQ8_0;
    case WeightType::kQ4_0:
      return QuantizeQ4_0;
    case WeightType::kQ4_1:
      return QuantizeQ4_1;
    case WeightType::kQ5_0:
      return QuantizeQ5_0;
    case WeightType::kQ5_1:
      return QuantizeQ5_1;
    case WeightType::kMXFP4:
      return QuantizeMXFP4;
    case WeightType::kQ4_K:
      return QuantizeQ4K;
    case WeightType::kQ5_K:
      return QuantizeQ5K;
    case WeightType::kQ6_K:
      return QuantizeQ6K;
    case WeightType::kIQ4_NL:
      return QuantizeIQ4NL;
    default:
      return nullptr;
  }
}

}  // namespace onecopy::kernels
