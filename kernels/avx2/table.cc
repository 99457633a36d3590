// The `avx2` table: a copy of `ref` with every entry overridden.
#include "kernels/avx2/avx2.h"
#include "kernels/ref/ref.h"

namespace onecopy::kernels::avx2 {
namespace {

KernelTable Make() {
  KernelTable table = ref::Table();
  table.name = "avx2";
  const auto set = [&table](WeightType type, uint32_t row_tile, const MatmulKernel& kernel) {
    table.weights[static_cast<size_t>(type)] = {kernel, row_tile};
  };
  set(WeightType::kF32, 1, matmul_f32);
  set(WeightType::kF16, 1, matmul_f16);
  set(WeightType::kBF16, 1, matmul_bf16);
  set(WeightType::kQ8_0, 8, matmul_q8_0);
  set(WeightType::kQ4_0, 8, matmul_q4_0);
  set(WeightType::kQ4_K, 8, matmul_q4_k);
  set(WeightType::kQ5_K, 8, matmul_q5_k);
  set(WeightType::kQ6_K, 8, matmul_q6_k);
  set(WeightType::kQ5_0, 8, matmul_q5_0);
  set(WeightType::kQ4_1, 8, matmul_q4_1);
  set(WeightType::kQ5_1, 8, matmul_q5_1);
  set(WeightType::kIQ4_NL, 8, matmul_iq4_nl);
  set(WeightType::kIQ4_XS, 8, matmul_iq4_xs);
  set(WeightType::kQ3_K, 8, matmul_q3_k);
  set(WeightType::kQ2_K, 8, matmul_q2_k);
  set(WeightType::kIQ2_XXS, 8, matmul_iq2_xxs);
  set(WeightType::kIQ2_XS, 8, matmul_iq2_xs);
  set(WeightType::kIQ2_S, 8, matmul_iq2_s);
  set(WeightType::kIQ3_XXS, 8, matmul_iq3_xxs);
  set(WeightType::kIQ3_S, 8, matmul_iq3_s);
  set(WeightType::kIQ1_S, 8, matmul_iq1_s);
  set(WeightType::kIQ1_M, 8, matmul_iq1_m);
  set(WeightType::kTQ1_0, 8, matmul_tq1_0);
  set(WeightType::kTQ2_0, 8, matmul_tq2_0);
  set(WeightType::kQ1_0, 8, matmul_q1_0);
  set(WeightType::kMXFP4, 8, matmul_mxfp4);
  set(WeightType::kNVFP4, 8, matmul_nvfp4);
  set(WeightType::kF8_E4M3, 8, matmul_f8_e4m3);
  set(WeightType::kInt8_BF16, 8, matmul_int8_bf16);
  set(WeightType::kInt4_BF16, 8, matmul_int4_bf16);
  set(WeightType::kInt4_32, 8, matmul_int4_32);
  set(WeightType::kInt4_64, 8, matmul_int4_64);
  set(WeightType::kInt4_128, 8, matmul_int4_128);
  table.quantize_q8 = quantize_q8;
  table.rms_norm = rms_norm;
  table.rope_neox = rope_neox;
  table.rope_pairwise = rope_pairwise;
  table.silu_mul = silu_mul;
  table.axpy = axpy;
  table.accumulate = accumulate;
  table.add_sums = add_sums;
  table.softmax = softmax;
  static_cast<CacheKernels&>(table) = {KvType::kF16, store_kv_f16, attend_f16, attend_block_f16,
                                       attend_block_bytes};
  table.q8_cache = {KvType::kQ8_0, store_kv_q8_0, attend_q8_0, attend_block_q8_0, attend_block_bytes};
  table.transposed = transposed;
  table.gated_delta = gated_delta;
  table.step_cache = static_cast<const CacheKernels&>(table);
  return table;
}

}  // namespace

const KernelTable& Table() {
  static const KernelTable table = Make();
  return table;
}

}  // namespace onecopy::kernels::avx2
