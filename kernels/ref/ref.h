// The `ref` table: plain C++ for any x86-64, the yardstick of every other table. Activations stay in float
// for every weight type, so that results can be held against a float64 oracle. Re-entrant.
#pragma once

#include "kernels/kernels.h"

namespace onecopy::kernels::ref {

const KernelTable& Table();

void matmul(const PackedMatrix& w, const void* const* x, float* const* y, size_t n_tokens, uint32_t row_begin,
            uint32_t row_end);
void matmul_sum(const PackedMatrix& w, const void* const* x, double* const* y, size_t n_tokens,
                uint32_t row_begin, uint32_t row_end);
void quantize_q8(const float* x, size_t cols, void* out);
void round_bf16(const float* x, size_t cols, void* out);
void rms_norm(const float* x, const float* weight, float eps, size_t n, float* out);
void rope_neox(float* x, const float* cos_sin, size_t half);
void rope_pairwise(float* x, const float* cos_sin, size_t half);
void silu_mul(const float* gate, const float* up, size_t n, float* out);
void axpy(float a, const float* x, size_t n, float* y);
void accumulate(const double* x, size_t n, double* y);
void add_sums(const double* sums, size_t n, float* x);
void softmax(float* x, size_t n);
void store_kv_f32(const float* x, size_t n, void* out);
void attend_f32(const float* q, size_t n_heads, size_t head_dim, const void* k, size_t k_stride,
                const void* v, size_t v_dim, size_t v_stride, size_t n_pos, const void* next_k,
                SoftmaxState* state, float* acc, float* scratch);
void attend_block_f32(const AttendBlock& block);
void store_kv_q8_0(const float* x, size_t n, void* out);
void attend_q8_0(const float* q, size_t n_heads, size_t head_dim, const void* k, size_t k_stride,
                 const void* v, size_t v_dim, size_t v_stride, size_t n_pos, const void* next_k,
                 SoftmaxState* state, float* acc, float* scratch);
void attend_block_q8_0(const AttendBlock& block);
size_t attend_block_bytes(const AttendBlock& block);
extern const TransposedKernel transposed;
void gated_delta(const GatedDelta& run);

}  // namespace onecopy::kernels::ref
