// F32, F16, BF16 weights x float activations: dot products along the columns in eight lanes, a register tile
// of 4 rows x 3 tokens, so that each load feeds several FMAs. Every (row, token) pair is summed in the same
// order whatever stands beside it. Columns need not be a multiple of 8.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/vec.h"

namespace onecopy::kernels::avx2 {
namespace {

constexpr size_t kRows = 4;
constexpr size_t kTokens = 3;  // 12 accumulators, 3 activations, 1 weight: 16 registers
constexpr size_t kTokenBlockBytes = size_t{256} * 1024;  // as in q8_matmul.h

struct F32 {
  static constexpr size_t kBytes = 4;
  static __m256 Load(const uint8_t* p) { return _mm256_loadu_ps(reinterpret_cast<const float*>(p)); }
  static __m256 LoadTail(const uint8_t* p, size_t n) {
    return _mm256_maskload_ps(reinterpret_cast<const float*>(p), TailMask(n));
  }
};

struct F16 {
  static constexpr size_t kBytes = 2;
  static __m256 Load(const uint8_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static __m256 LoadTail(const uint8_t* p, size_t n) { return _mm256_cvtph_ps(LoadTail16(p, n)); }
};

struct BF16 {
  static constexpr size_t kBytes = 2;
  static __m256 Widen(__m128i v) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
  }
  static __m256 Load(const uint8_t* p) { return Widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))); }
  static __m256 LoadTail(const uint8_t* p, size_t n) { return Widen(LoadTail16(p, n)); }
};

// y[t][row + r] for R rows from w on and T tokens.
template <class W, int R, int T>
void Tile(const uint8_t* w, size_t row_bytes, size_t cols, const void* const* x, float* const* y,
          size_t row) {
  __m256 acc[R][T];
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < T; ++t) acc[r][t] = _mm256_setzero_ps();
  }
  const float* tokens[T];
  for (int t = 0; t < T; ++t) tokens[t] = static_cast<const float*>(x[t]);
  size_t c = 0;
  for (; c + 8 <= cols; c += 8) {
    __m256 in[T];
    for (int t = 0; t < T; ++t) in[t] = _mm256_loadu_ps(tokens[t] + c);
    for (int r = 0; r < R; ++r) {
      const __m256 weight = W::Load(w + r * row_bytes + c * W::kBytes);
      for (int t = 0; t < T; ++t) acc[r][t] = _mm256_fmadd_ps(weight, in[t], acc[r][t]);
    }
  }
  if (c < cols) {
    for (int r = 0; r < R; ++r) {
      const __m256 weight = W::LoadTail(w + r * row_bytes + c * W::kBytes, cols - c);
      for (int t = 0; t < T; ++t) {
        const __m256 in = _mm256_maskload_ps(tokens[t] + c, TailMask(cols - c));
        acc[r][t] = _mm256_fmadd_ps(weight, in, acc[r][t]);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < T; ++t) y[t][row + r] = SumLanes(acc[r][t]);
  }
}

// Adds up to 32 columns from c on: four FMAs a lane, then one addition in double.
template <class W, int R, int T>
inline void AddUnit(const uint8_t* w, size_t row_bytes, size_t c, size_t end, const float* const* tokens,
                    __m256d (*low)[T], __m256d (*high)[T]) {
  __m256 term[R][T];
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < T; ++t) term[r][t] = _mm256_setzero_ps();
  }
  for (; c + 8 <= end; c += 8) {
    for (int r = 0; r < R; ++r) {
      const __m256 weight = W::Load(w + r * row_bytes + c * W::kBytes);
      for (int t = 0; t < T; ++t) {
        term[r][t] = _mm256_fmadd_ps(weight, _mm256_loadu_ps(tokens[t] + c), term[r][t]);
      }
    }
  }
  if (c < end) {
    for (int r = 0; r < R; ++r) {
      const __m256 weight = W::LoadTail(w + r * row_bytes + c * W::kBytes, end - c);
      for (int t = 0; t < T; ++t) {
        const __m256 in = _mm256_maskload_ps(tokens[t] + c, TailMask(end - c));
        term[r][t] = _mm256_fmadd_ps(weight, in, term[r][t]);
      }
    }
  }
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < T; ++t) {
      low[r][t] = _mm256_add_pd(low[r][t], _mm256_cvtps_pd(_mm256_castps256_ps128(term[r][t])));
      high[r][t] = _mm256_add_pd(high[r][t], _mm256_cvtps_pd(_mm256_extractf128_ps(term[r][t], 1)));
    }
  }
}

// The same as sums in double of one float term a unit of 32 columns (MatmulSumFn): lane i of a unit's term has
// its columns i, 8 + i, 16 + i, 24 + i in this order.
template <class W, int R, int T>
void Tile(const uint8_t* w, size_t row_bytes, size_t cols, const void* const* x, double* const* y,
          size_t row) {
  __m256d low[R][T], high[R][T];
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < T; ++t) low[r][t] = high[r][t] = _mm256_setzero_pd();
  }
  const float* tokens[T];
  for (int t = 0; t < T; ++t) tokens[t] = static_cast<const float*>(x[t]);
  size_t c = 0;
  for (; c + 32 <= cols; c += 32) AddUnit<W, R, T>(w, row_bytes, c, c + 32, tokens, low, high);
  if (c < cols) AddUnit<W, R, T>(w, row_bytes, c, cols, tokens, low, high);
  for (int r = 0; r < R; ++r) {
    for (int t = 0; t < T; ++t) {
      double lanes[4];
      _mm256_storeu_pd(lanes, _mm256_add_pd(low[r][t], high[r][t]));
      y[t][row + r] = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
    }
  }
}

template <class W, int R, class Y>
void RowTile(const uint8_t* w, size_t row_bytes, size_t cols, const void* const* x, Y* const* y,
             size_t n_tokens, size_t row) {
  size_t t = 0;
  for (; t + kTokens <= n_tokens; t += kTokens) Tile<W, R, kTokens>(w, row_bytes, cols, x + t, y + t, row);
  if (n_tokens - t == 2) Tile<W, R, 2>(w, row_bytes, cols, x + t, y + t, row);
  if (n_tokens - t == 1) Tile<W, R, 1>(w, row_bytes, cols, x + t, y + t, row);
}

template <class W, class Y>
void Matmul(const PackedMatrix& w, const void* const* x, Y* const* y, size_t n_tokens, uint32_t row_begin,
            uint32_t row_end) {
  const size_t row_bytes = w.cols * W::kBytes;
  const size_t fit = kTokenBlockBytes / (w.cols * sizeof(float) + 1) / kTokens * kTokens;
  const size_t block = fit < kTokens ? kTokens : fit;
  for (size_t t = 0; t < n_tokens; t += block) {
    const size_t n = n_tokens - t < block ? n_tokens - t : block;
    size_t row = row_begin;
    for (; row + kRows <= row_end; row += kRows) {
      RowTile<W, kRows>(w.data + row * row_bytes, row_bytes, w.cols, x + t, y + t, n, row);
    }
    for (; row < row_end; ++row)
      RowTile<W, 1>(w.data + row * row_bytes, row_bytes, w.cols, x + t, y + t, n, row);
  }
}

}  // namespace

constinit const MatmulKernel matmul_f32 = {ActFormat::kF32, Matmul<F32, float>, Matmul<F32, double>};

constinit const MatmulKernel matmul_f16 = {ActFormat::kF32, Matmul<F16, float>, Matmul<F16, double>};

constinit const MatmulKernel matmul_bf16 = {ActFormat::kF32, Matmul<BF16, float>, Matmul<BF16, double>};

}  // namespace onecopy::kernels::avx2
