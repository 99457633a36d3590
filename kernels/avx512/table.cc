// The `avx512` table: a copy of `avx2` that overrides what gains from wider vectors.
#include "kernels/avx2/avx2.h"
#include "kernels/avx512/avx512.h"

namespace onecopy::kernels::avx512 {
namespace {

KernelTable Make() {
  KernelTable table = avx2::Table();
  table.name = "avx512";
  const auto set = [&table](WeightType type, uint32_t row_tile, const MatmulKernel& kernel) {
    table.weights[static_cast<size_t>(type)] = {kernel, row_tile};
  };
  set(WeightType::kQ8_0, 16, matmul_q8_0);
  set(WeightType::kQ4_0, 16, matmul_q4_0);
  set(WeightType::kQ4_1, 16, matmul_q4_1);
  set(WeightType::kQ5_0, 16, matmul_q5_0);
  set(WeightType::kQ5_1, 16, matmul_q5_1);
  set(WeightType::kQ2_K, 16, matmul_q2_k);
  set(WeightType::kQ3_K, 16, matmul_q3_k);
  set(WeightType::kQ4_K, 16, matmul_q4_k);
  set(WeightType::kQ5_K, 16, matmul_q5_k);
  set(WeightType::kQ6_K, 16, matmul_q6_k);
  set(WeightType::kIQ4_NL, 16, matmul_iq4_nl);
  set(WeightType::kIQ4_XS, 16, matmul_iq4_xs);
  set(WeightType::kMXFP4, 16, matmul_mxfp4);
  set(WeightType::kNVFP4, 16, matmul_nvfp4);
  set(WeightType::kInt8_BF16, 16, matmul_int8_bf16);
  set(WeightType::kInt4_BF16, 16, matmul_int4_bf16);
  set(WeightType::kInt4_32, 16, matmul_int4_32);
  set(WeightType::kInt4_64, 16, matmul_int4_64);
  set(WeightType::kInt4_128, 16, matmul_int4_128);
  table.silu_mul = silu_mul;
  table.accumulate = accumulate;
  table.add_sums = add_sums;
  static_cast<CacheKernels&>(table) = {KvType::kF16, table.store_kv, attend_f16, attend_block_f16,
                                       attend_block_bytes};
  table.q8_cache = {KvType::kQ8_0, table.q8_cache.store_kv, attend_q8_0, attend_block_q8_0,
                    attend_block_bytes};
  table.transposed = transposed;
  table.step_cache = static_cast<const CacheKernels&>(table);
  return table;
}

}  // namespace

const KernelTable& Table() {
  static const KernelTable table = Make();
  return table;
}

}  // namespace onecopy::kernels::avx512
