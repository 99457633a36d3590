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
  set(WeightType::kQ5_0, 16, matmul_q5_0);
  set(WeightType::kQ4_K, 16, matmul_q4_k);
  set(WeightType::kQ5_K, 16, matmul_q5_k);
  set(WeightType::kQ6_K, 16, matmul_q6_k);
  set(WeightType::kMXFP4, 16, matmul_mxfp4);
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
