// cpuid by way of the compiler's run-time library, whose __builtin_cpu_supports also asks xgetbv whether the
// operating system saves the wide registers (GCC manual, x86 built-in functions).
#include "kernels/isa.h"

namespace onecopy::kernels {

// The built-in takes a literal, hence no loop over names.
std::vector<IsaFeature> IsaFeatures() {
  __builtin_cpu_init();
  return {
      {"AVX2", __builtin_cpu_supports("avx2") != 0},
      {"FMA", __builtin_cpu_supports("fma") != 0},
      {"F16C", __builtin_cpu_supports("f16c") != 0},
      {"AVX-512F", __builtin_cpu_supports("avx512f") != 0},
      {"AVX-512BW", __builtin_cpu_supports("avx512bw") != 0},
      {"AVX-512VL", __builtin_cpu_supports("avx512vl") != 0},
      {"AVX-512VNNI", __builtin_cpu_supports("avx512vnni") != 0},
      {"AVX-512BF16", __builtin_cpu_supports("avx512bf16") != 0},
      {"AMX-TILE", __builtin_cpu_supports("amx-tile") != 0},
      {"AMX-INT8", __builtin_cpu_supports("amx-int8") != 0},
      {"AMX-BF16", __builtin_cpu_supports("amx-bf16") != 0},
  };
}

bool HasAvx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}

}  // namespace onecopy::kernels
