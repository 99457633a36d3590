// The `avx2` table (AVX2, FMA, F16C) and its entries. Valid to call only where HasAvx2() holds. Re-entrant.
//
// Files of this folder use raw pointers, intrinsics and anonymous namespaces, and call no inline function
// from outside (std or ours): the linker keeps one copy of such a function for everybody, and it could be the
// one with AVX code. tests/unit/kernels/isa_objects_test.cc holds them to it.
#pragma once

#include "kernels/kernels.h"

namespace onecopy::kernels::avx2 {

const KernelTable& Table();

// Rows in tiles of eight, one per dword lane; activations in kQ8.
extern const MatmulKernel matmul_q8_0;
extern const MatmulKernel matmul_q4_0;
extern const MatmulKernel matmul_q4_k;
extern const MatmulKernel matmul_q5_k;
extern const MatmulKernel matmul_q6_k;
extern const MatmulKernel matmul_q5_0;
extern const MatmulKernel matmul_q4_1;
extern const MatmulKernel matmul_q5_1;
extern const MatmulKernel matmul_iq4_nl;
extern const MatmulKernel matmul_iq4_xs;
extern const MatmulKernel matmul_q3_k;
extern const MatmulKernel matmul_q2_k;
extern const MatmulKernel matmul_iq2_xxs;
extern const MatmulKernel matmul_iq2_xs;
extern const MatmulKernel matmul_iq2_s;
extern const MatmulKernel matmul_iq3_xxs;
extern const MatmulKernel matmul_iq3_s;
extern const MatmulKernel matmul_iq1_s;
extern const MatmulKernel matmul_iq1_m;
extern const MatmulKernel matmul_tq1_0;
extern const MatmulKernel matmul_tq2_0;
extern const MatmulKernel matmul_q1_0;
extern const MatmulKernel matmul_mxfp4;
extern const MatmulKernel matmul_nvfp4;
extern const MatmulKernel matmul_int8_bf16;
extern const MatmulKernel matmul_int4_bf16;
extern const MatmulKernel matmul_int4_32;
extern const MatmulKernel matmul_int4_64;
extern const MatmulKernel matmul_int4_128;
// Rows in tiles of eight; activations in float.
extern const MatmulKernel matmul_f8_e4m3;
// Rows as in the file; activations in float.
extern const MatmulKernel matmul_f32;
extern const MatmulKernel matmul_f16;
extern const MatmulKernel matmul_bf16;

void quantize_q8(const float* x, size_t cols, void* out);
void rms_norm(const float* x, const float* weight, float eps, size_t n, float* out);
void rope_neox(float* x, const float* cos_sin, size_t half);
void rope_pairwise(float* x, const float* cos_sin, size_t half);
void silu_mul(const float* gate, const float* up, size_t n, float* out);
void axpy(float a, const float* x, size_t n, float* y);
void accumulate(const double* x, size_t n, double* y);
void add_sums(const double* sums, size_t n, float* x);
void softmax(float* x, size_t n);
void store_kv_f16(const float* x, size_t n, void* out);
void attend_f16(const float* q, size_t n_heads, size_t head_dim, const void* k, size_t k_stride,
                const void* v, size_t v_dim, size_t v_stride, size_t n_pos, const void* next_k,
                SoftmaxState* state, float* acc, float* scratch);
void attend_block_f16(const AttendBlock& block);
void store_kv_q8_0(const float* x, size_t n, void* out);
void attend_q8_0(const float* q, size_t n_heads, size_t head_dim, const void* k, size_t k_stride,
                 const void* v, size_t v_dim, size_t v_stride, size_t n_pos, const void* next_k,
                 SoftmaxState* state, float* acc, float* scratch);
void attend_block_q8_0(const AttendBlock& block);
size_t attend_block_bytes(const AttendBlock& block);
extern const TransposedKernel transposed;
void gated_delta(const GatedDelta& run);

}  // namespace onecopy::kernels::avx2
