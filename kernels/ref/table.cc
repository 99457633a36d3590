// The `ref` table: every weight type in rows as packed for row_tile 1, float activations, float KV cache.
#include "kernels/ref/ref.h"

namespace onecopy::kernels::ref {
namespace {

KernelTable Make() {
  KernelTable table = {};
  table.name = "ref";
  for (WeightKernel& kernel : table.weights) kernel = {{ActFormat::kF32, matmul, matmul_sum}};
  table.quantize_q8 = quantize_q8;
  table.round_bf16 = round_bf16;
  table.rms_norm = rms_norm;
  table.rope_neox = rope_neox;
  table.rope_pairwise = rope_pairwise;
  table.silu_mul = silu_mul;
  table.axpy = axpy;
  table.accumulate = accumulate;
  table.add_sums = add_sums;
  table.softmax = softmax;
  static_cast<CacheKernels&>(table) = {KvType::kF32, store_kv_f32, attend_f32, attend_block_f32,
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

}  // namespace onecopy::kernels::ref
