// KernelTable: everything a forward pass computes, as a table of functions per ISA. Tables are chosen once,
// at start-up, by cpuid (registry.h). Each ISA's table starts as a copy of the one below it and overrides
// what it does better, so a missing fast kernel is slow, never wrong.
//
// kernels/ knows no MPI, NUMA, files or threads: every function is single-threaded, re-entrant, allocates
// nothing and cannot fail. Callers split work by rows, tokens or heads. Pointers need no alignment unless
// stated. Results do not depend on how the caller splits the rows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/pack.h"
#include "kernels/types.h"

namespace onecopy::kernels {

// How the input rows of a matmul are stored.
enum class ActFormat : uint8_t {
  kF32,   // float[cols]
  kQ8,    // int8 per 32 columns: ActRow below. cols is rounded up to a multiple of 32 and the tail is zero.
  kBF16,  // uint16 [cols]: the upper half of the float, rounded to nearest even (infinity beyond bf16's range, zero of its
  // sign for a subnormal). cols is rounded up to a multiple of 32 and the tail is zero. 64-byte aligned.
  kCount
};

// One kQ8 activation row, `units` = cols / 32 rounded up, in this order, 64-byte aligned:
//   int8  q [32 * units]   round(x / d), |q| <= 127
//   float d [units]        max |x| / 127 over the unit (0 for an all-zero unit)
//   float s0[units]        d * sum of q over columns 0-15 of the unit
//   float s1[units]        d * sum of q over columns 16-31
inline constexpr uint64_t Q8RowBytes(uint64_t cols) {
  const uint64_t units = (cols + 31) / 32;
  return (units * (32 + 3 * sizeof(float)) + 63) / 64 * 64;
}

// Bytes of a row of activations: the distance of rows in a buffer, a multiple of 64.
inline constexpr uint64_t ActRowBytes(ActFormat format, uint64_t cols) {
  switch (format) {
    case ActFormat::kQ8:
      return Q8RowBytes(cols);
    case ActFormat::kBF16:
      // An odd number of cache lines: sixteen rows are loaded at once, and must not all fall into one set of a cache.
      return ((cols + 31) / 32 | 1) * 64;
    default:
      return (cols * sizeof(float) + 63) / 64 * 64;
  }
}

// y[t][r] = sum over c of w[r][c] * x[t][c], for tokens t < n_tokens and rows row_begin <= r < row_end of w.
//   x: n_tokens pointers to rows in the kernel's ActFormat, 64-byte aligned (kBF16: quickest at a fixed distance)
//   y: n_tokens pointers to float[w.rows]; only [row_begin, row_end) is written. Does not overlap x or w.
// row_begin is a multiple of w.row_tile; row_end too, or w.rows.
using MatmulFn = void (*)(const PackedMatrix& w, const void* const* x, float* const* y, size_t n_tokens,
                          uint32_t row_begin, uint32_t row_end);

// The same product for a shard that is cut by columns, whose y is to be summed over ranks: y[t][r] is the sum, in
// double, of one float term per 32-column unit of the full matrix. A unit's term does not depend on where the matrix
// was cut, so neither does the sum over all shards, but for the rounding of double: a value that decides how an
// activation is quantised, or which expert is taken, is the same for any number of ranks.
using MatmulSumFn = void (*)(const PackedMatrix& w, const void* const* x, double* const* y, size_t n_tokens,
                             uint32_t row_begin, uint32_t row_end);

struct MatmulKernel {
  ActFormat act = ActFormat::kF32;
  MatmulFn matmul = nullptr;  // nullptr: this build cannot compute with the type
  MatmulSumFn matmul_sum = nullptr;
  // Where not null: the sum over all of the shard's columns as `matmul` makes it, in float. Quicker; its last bits depend on
  // where the matrix was cut. See WithQuickSums (registry.h).
  MatmulSumFn quick_sum = nullptr;
};

// The kernel of a type, and perhaps another that is better for many tokens of prompts (KernelTable::many_from) and reads the
// same weights. Which one takes a token changes the last bits of its result; with one kernel, a token's result has the same
// bits whatever tokens stand beside it.
struct WeightKernel : MatmulKernel {
  uint32_t row_tile = 1;  // of the packed layout that both read
  MatmulKernel many;

  bool has_many() const { return many.matmul != nullptr; }
};

// Element type of the KV cache. kQ8_0: blocks of 32 as in GGUF, {f16 d, int8 q[32]}, an element is d * q; a row begins with
// a block, and its last one is filled up with zeros.
enum class KvType : uint8_t { kF32, kF16, kQ8_0 };
inline constexpr const char* KvTypeName(KvType type) {
  return type == KvType::kF32 ? "f32" : type == KvType::kF16 ? "f16" : "q8_0";
}
inline constexpr size_t kQ8Block = 32;
inline constexpr size_t kQ8BlockBytes = 2 + kQ8Block;
// Of a row of n elements, and so the distance of rows whose stride is n elements.
inline constexpr size_t KvRowBytes(KvType type, size_t n) {
  switch (type) {
    case KvType::kF32:
      return n * 4;
    case KvType::kF16:
      return n * 2;
    default:
      return (n + kQ8Block - 1) / kQ8Block * kQ8BlockBytes;
  }
}

// The running state of one query head's softmax (Milakov & Gimelshein 2018; FlashAttention, Dao 2022, section
// 3). Starts as {-infinity, 0} with acc all zero; the head's output is acc / sum.
struct SoftmaxState {
  float max;
  float sum;
};

// Positions of a page of the KV cache, the unit of attend_block.
inline constexpr size_t kKvPagePositions = 64;

// Consecutive tokens of one sequence against all cached positions that they see of one KV head.
struct AttendBlock {
  size_t n_tokens, n_heads;  // heads: the query heads of the KV head
  size_t head_dim, v_dim;
  // Elements between the values of two positions (KvRowBytes), at least v_dim: more where they are part of the keys.
  size_t v_stride;
  size_t first_position;  // of the block: token t sees the positions 0 … first_position + t
  // Of these only so many, whole pages, where it is not 0: there are no more, or they are for another call.
  size_t n_positions;
  // Where it is not 0, a token sees so many positions that end with its own, or all where there are fewer; n_positions is 0
  // then. Pages before the first that is seen are not read.
  size_t window;
  // Token t, head h at q + t * q_stride + h * head_dim; already multiplied by the softmax scale.
  const float* q;
  size_t q_stride;
  // Page i has positions from kKvPagePositions * i: [kKvPagePositions][head_dim] and [kKvPagePositions][v_stride] of
  // kv_type.
  // What lies behind the last position that is seen is not used, whatever it is.
  const void* const* k_pages;
  const void* const* v_pages;
  // Written: token t, head h at out + t * out_stride + h * v_dim.
  float* out;
  size_t out_stride;
  // Written where not null: token t, head h at states + t * n_heads + h, what `out` was divided by and relative to what.
  SoftmaxState* states;
  void* scratch;  // attend_block_bytes(*this) bytes, 64-byte aligned
};

// Values of a head that gated_delta updates at a time: 32 columns of the state with 128 keys stay in a core's first cache.
inline constexpr size_t kDeltaValues = 32;

// Consecutive tokens of one sequence for kDeltaValues values of one value head (gated delta rule, Yang et al. 2024, arXiv
// 2412.06464, equation 10). For each token, with S the state:
//   S *= decay; S += k (beta (v - k^T S))^T; out = q^T S
struct GatedDelta {
  size_t n_tokens, key_dim;
  // Token t at q + t * qk_stride, k likewise: [key_dim]; both normalised, q also scaled.
  const float *q, *k;
  size_t qk_stride;
  const float* v;  // token t at v + t * v_stride: [kDeltaValues]
  size_t v_stride;
  const float *decay, *beta;  // of token t at decay[t * gate_stride], beta likewise
  size_t gate_stride;
  float* state;  // [key_dim][kDeltaValues], updated
  float* out;    // token t at out + t * out_stride: [kDeltaValues]; may be v
  size_t out_stride;
};

// What writes and reads a KV cache of one element type.
struct CacheKernels {
  KvType kv_type;

  // x: [n] -> out: a row of n elements, KvRowBytes(kv_type, n) bytes. f16: rounded to nearest even, overflow goes to infinity.
  // q8_0: d is max |x| / 127, rounded to f16 after the quants were made with it, as ggml does; a block with an element that
  // is not finite has d = NaN. The same bits in every table for finite x.
  void (*store_kv)(const float* x, size_t n, void* out);

  // Adds n_pos cached positions of one KV head to the running softmax of the n_heads query heads of it.
  //   q: [n_heads][head_dim], already multiplied by the softmax scale
  //   k: [n_pos][head_dim] kv_type, rows k_stride elements (KvRowBytes) apart
  //   v: [n_pos][v_dim] kv_type, rows v_stride elements apart
  //   next_k: a hint: rows of k that the next call will read, to be prefetched; or nullptr
  //   state: [n_heads]   acc: [n_heads][v_dim]   scratch: float[n_heads * n_pos]
  void (*attend)(const float* q, size_t n_heads, size_t head_dim, const void* k, size_t k_stride,
                 const void* v, size_t v_dim, size_t v_stride, size_t n_pos, const void* next_k,
                 SoftmaxState* state, float* acc, float* scratch);

  // Causal attention of a block of tokens, for prefill: a page is converted once for all tokens and heads of the block
  // (the loops of FlashAttention-2, Dao 2023). A token and head has the same bits whoever shares its block, so long as all
  // keys and values are finite; they may differ from attend's in rounding.
  void (*attend_block)(const AttendBlock& block);
  size_t (*attend_block_bytes)(const AttendBlock& block);
};

// Products with a matrix that lies transposed, in floats:
//   y[t][c] = sum over d < depth of x[t][d] * w[d][c]
// w is put into panels first, once for many x.
struct TransposedKernel {
  ActFormat act;  // of x: rows of `depth` columns
  // Of the panels of a matrix of that shape; a multiple of 64.
  size_t (*panel_bytes)(size_t depth, size_t cols);
  // w: [depth][cols]; panels: 64-byte aligned.
  void (*pack)(const float* w, size_t depth, size_t cols, void* panels);
  // x: rows x_bytes apart, 64-byte aligned; y: rows y_stride floats apart, room for cols rounded up to 32, of which those
  // behind the last column get anything. A token has the same bits whatever stands beside it.
  void (*multiply)(const void* panels, size_t depth, size_t cols, const void* x, size_t x_bytes,
                   size_t n_tokens, float* y, size_t y_stride);
};

struct KernelTable : CacheKernels {  // of the table's own type, the best it has: float in `ref`, else f16
  const char* name;                  // "ref", "avx2", …
  WeightKernel weights[static_cast<size_t>(WeightType::kCount)];
  // So many tokens of one prompt that a matrix multiplies at a time are for WeightKernel::many, where there is one.
  size_t many_from = SIZE_MAX;
  CacheKernels q8_cache;  // half of f16's memory (registry.h, WithCache)
  // Of the table's own type whatever the cache has: for keys and values that are made for a step.
  CacheKernels step_cache;
  TransposedKernel transposed;

  // Whether the number of a prompt's tokens decides which kernel takes them.
  bool has_many() const { return many_from != SIZE_MAX; }
  const MatmulKernel& ForPrompt(WeightType type, size_t n_tokens) const {
    const WeightKernel& kernel = weights[static_cast<size_t>(type)];
    return n_tokens >= many_from && kernel.has_many() ? kernel.many : kernel;
  }

  // x: [cols] -> out: one kQ8 row, Q8RowBytes(cols) bytes, 64-byte aligned.
  void (*quantize_q8)(const float* x, size_t cols, void* out);

  // x: [cols] -> out: one kBF16 row, 64-byte aligned; nothing is written behind its last 32 columns.
  void (*round_bf16)(const float* x, size_t cols, void* out);

  // out[i] = x[i] / sqrt(mean(x^2) + eps) * weight[i]. out may be x. (Zhang & Sennrich 2019.)
  void (*rms_norm)(const float* x, const float* weight, float eps, size_t n, float* out);

  // Rotates x[2 * half] in place by the angles of one position; cos_sin: [half][2] = {cos, sin}.
  // neox: pairs (i, i + half), as Hugging Face stores them. pairwise: pairs (2i, 2i + 1), GGUF arch llama.
  void (*rope_neox)(float* x, const float* cos_sin, size_t half);
  void (*rope_pairwise)(float* x, const float* cos_sin, size_t half);

  // out[i] = gate[i] * sigmoid(gate[i]) * up[i]. out may be gate. (SwiGLU, Shazeer 2020.)
  void (*silu_mul)(const float* gate, const float* up, size_t n, float* out);

  // y[i] += a * x[i]
  void (*axpy)(float a, const float* x, size_t n, float* y);

  // y[i] += x[i]: the same bits in every table.
  void (*accumulate)(const double* x, size_t n, double* y);
  // x[i] = x[i] + sums[i], added in double and rounded to float once: the same bits in every table.
  void (*add_sums)(const double* sums, size_t n, float* x);

  // Softmax in place over x[n], maximum subtracted.
  void (*softmax)(float* x, size_t n);

  // A token has the same bits however the sequence is cut into calls.
  void (*gated_delta)(const GatedDelta& run);
};

// x: [cols] -> out: one row in `format`, ActRowBytes(format, cols) bytes, 64-byte aligned.
inline void MakeActRow(const KernelTable& table, ActFormat format, const float* x, size_t cols, void* out) {
  switch (format) {
    case ActFormat::kQ8:
      return table.quantize_q8(x, cols, out);
    case ActFormat::kBF16:
      return table.round_bf16(x, cols, out);
    default:
      std::memcpy(out, x, cols * sizeof(float));
  }
}

}  // namespace onecopy::kernels
