// The `amx` table: a copy of `avx512` with kernels for many tokens.
#include "kernels/amx/amx.h"
#include "kernels/avx512/avx512.h"

namespace onecopy::kernels::amx {
namespace {

// From here on the decoding of the weights to bf16 costs less than multiplying their quants for each token.
constexpr size_t kManyTokens = 12;

KernelTable Make() {
  KernelTable table = avx512::Table();
  table.name = "amx";
  table.many_from = kManyTokens;
  const auto set = [&table](WeightType type, const MatmulKernel& many) {
    table.weights[static_cast<size_t>(type)].many = many;
  };
  set(WeightType::kQ8_0, matmul_q8_0);
  set(WeightType::kQ4_0, matmul_q4_0);
  set(WeightType::kQ5_0, matmul_q5_0);
  set(WeightType::kQ4_K, matmul_q4_k);
  set(WeightType::kQ5_K, matmul_q5_k);
  set(WeightType::kQ6_K, matmul_q6_k);
  set(WeightType::kMXFP4, matmul_mxfp4);
  table.round_bf16 = round_bf16;
  table.transposed = transposed;
  table.attend_block = attend_block_f16;
  table.attend_block_bytes = attend_block_bytes;
  table.q8_cache.attend_block = attend_block_q8_0;
  table.q8_cache.attend_block_bytes = attend_block_bytes;
  table.step_cache = static_cast<const CacheKernels&>(table);
  return table;
}

}  // namespace

const KernelTable& Table() {
  static const KernelTable table = Make();
  return table;
}

}  // namespace onecopy::kernels::amx
