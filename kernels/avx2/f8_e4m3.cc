// F8_E4M3 x float. A code shifted into a half's exponent and mantissa is that half times 2^8 (subnormals too), so two codes
// become halves in two or three operations and floats by vcvtph2ps; no table, no branch. Eight rows by two columns
// fill two vectors of floats, whose lanes meet a pair of activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/vec.h"

namespace onecopy::kernels::avx2 {
namespace {

constexpr size_t kRowTile = 8;
constexpr size_t kUnitBytes = 32 * kRowTile;
constexpr size_t kHeaderBytes = 4 * kRowTile;
constexpr size_t kBlockUnits = 4;
constexpr size_t kTokenTile = 4;
constexpr size_t kTokenBlockBytes = size_t{256} * 1024;  // as in q8_matmul.h
constexpr size_t kPrefetchBytes = 2048;                  // without a WeightStream: of the same tile, mostly
constexpr float kHalfBias = 256.0f;                      // biases of half and E4M3: 2^(15 - 7)

// Lanes: rows 0 0 1 1 2 2 3 3 and 4 4 5 5 6 6 7 7; the even ones for one column, the odd ones for the next.
struct Pairs {
  __m256 low, high;
};

inline Pairs Widen(__m256i halves) {
  return {_mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
          _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1))};
}

// The codes in the upper bytes of words. The shift copies the sign into the exponent's highest bit, which is masked out.
inline __m256i Halves(__m256i words) {
  return _mm256_and_si256(_mm256_srai_epi16(words, 1), _mm256_set1_epi16(static_cast<int16_t>(0xbf80)));
}

inline __m256 BroadcastPair(const float* x) {
  return _mm256_castpd_ps(_mm256_broadcast_sd(reinterpret_cast<const double*>(x)));
}

// Adds one unit's products for T tokens, at x[t] + col.
template <int T>
inline void AddUnit(const uint8_t* p, const float* const* x, size_t col, Pairs* acc) {
  for (size_t j = 0; j < 8; ++j) {
    if (j % 2 == 0) _mm_prefetch(reinterpret_cast<const char*>(p + kPrefetchBytes + 32 * j), _MM_HINT_T0);
    const __m256i codes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32 * j));
    const Pairs first = Widen(Halves(_mm256_slli_epi16(codes, 8))), second = Widen(Halves(codes));
    for (int t = 0; t < T; ++t) {
      const __m256 x01 = BroadcastPair(x[t] + col + 4 * j), x23 = BroadcastPair(x[t] + col + 4 * j + 2);
      acc[t].low = _mm256_fmadd_ps(first.low, x01, acc[t].low);
      acc[t].high = _mm256_fmadd_ps(first.high, x01, acc[t].high);
      acc[t].low = _mm256_fmadd_ps(second.low, x23, acc[t].low);
      acc[t].high = _mm256_fmadd_ps(second.high, x23, acc[t].high);
    }
  }
}

// Rows 0-7.
inline __m256 SumPairs(const Pairs& v) {
  const __m256 rows = _mm256_hadd_ps(v.low, v.high);  // 0 1 4 5 2 3 6 7
  return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(rows), 0xd8));
}

template <int T>
inline void Clear(Pairs* acc) {
  for (int t = 0; t < T; ++t) acc[t] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
}

inline __m256 LoadScale(const uint8_t* header) {
  return _mm256_mul_ps(_mm256_loadu_ps(reinterpret_cast<const float*>(header)), _mm256_set1_ps(kHalfBias));
}

// Of one row: units, and those of the first, perhaps partial, block.
struct Shape {
  size_t units, head_units;
};

// One tile for T tokens: y[t][row .. row + n_rows).
template <int T>
void Tile(const uint8_t* tile, const Shape& shape, const void* const* rows, float* const* y, size_t row,
          size_t n_rows) {
  const float* x[T];
  __m256 total[T];
  for (int t = 0; t < T; ++t) {
    x[t] = static_cast<const float*>(rows[t]);
    total[t] = _mm256_setzero_ps();
  }
  size_t n = shape.head_units;
  for (size_t unit = 0; unit < shape.units; unit += n, n = kBlockUnits) {
    if (n > shape.units - unit) n = shape.units - unit;
    const __m256 scale = LoadScale(tile);
    tile += kHeaderBytes;
    Pairs acc[T];
    Clear<T>(acc);
    for (size_t u = unit; u < unit + n; ++u, tile += kUnitBytes) AddUnit<T>(tile, x, 32 * u, acc);
    for (int t = 0; t < T; ++t) total[t] = _mm256_fmadd_ps(scale, SumPairs(acc[t]), total[t]);
  }
  for (int t = 0; t < T; ++t) _mm256_maskstore_ps(y[t] + row, TailMask(n_rows), total[t]);
}

// The same as a sum in double of one float term a unit (MatmulSumFn).
template <int T>
void Tile(const uint8_t* tile, const Shape& shape, const void* const* rows, double* const* y, size_t row,
          size_t n_rows) {
  const float* x[T];
  __m256d low[T], high[T];
  for (int t = 0; t < T; ++t) {
    x[t] = static_cast<const float*>(rows[t]);
    low[t] = high[t] = _mm256_setzero_pd();
  }
  size_t n = shape.head_units;
  for (size_t unit = 0; unit < shape.units; unit += n, n = kBlockUnits) {
    if (n > shape.units - unit) n = shape.units - unit;
    const __m256 scale = LoadScale(tile);
    tile += kHeaderBytes;
    for (size_t u = unit; u < unit + n; ++u, tile += kUnitBytes) {
      Pairs acc[T];
      Clear<T>(acc);
      AddUnit<T>(tile, x, 32 * u, acc);
      for (int t = 0; t < T; ++t) {
        const __m256 term = _mm256_mul_ps(scale, SumPairs(acc[t]));
        low[t] = _mm256_add_pd(low[t], _mm256_cvtps_pd(_mm256_castps256_ps128(term)));
        high[t] = _mm256_add_pd(high[t], _mm256_cvtps_pd(_mm256_extractf128_ps(term, 1)));
      }
    }
  }
  for (int t = 0; t < T; ++t) {
    double all[kRowTile];
    _mm256_storeu_pd(all, low[t]);
    _mm256_storeu_pd(all + 4, high[t]);
    for (size_t r = 0; r < n_rows; ++r) y[t][row + r] = all[r];
  }
}

template <class Y>
void Matmul(const PackedMatrix& w, const void* const* x, Y* const* y, size_t n_tokens, uint32_t row_begin,
            uint32_t row_end) {
  const size_t first = kBlockUnits - w.first_col / 32 % kBlockUnits;
  const Shape shape = {w.cols / 32, first};
  const size_t tile_bytes = TileBytes(w);
  const size_t fit = kTokenBlockBytes / (w.cols * sizeof(float) + 1) / kTokenTile * kTokenTile;
  const size_t block = fit < kTokenTile ? kTokenTile : fit;
  for (size_t begin = 0; begin < n_tokens; begin += block) {
    const size_t end = n_tokens - begin < block ? n_tokens : begin + block;
    const uint8_t* tile = w.data + row_begin / kRowTile * tile_bytes;
    for (size_t row = row_begin; row < row_end; row += kRowTile, tile += tile_bytes) {
      const size_t n_rows = row_end - row < kRowTile ? row_end - row : kRowTile;
      size_t t = begin;
      for (; t + 4 <= end; t += 4) Tile<4>(tile, shape, x + t, y + t, row, n_rows);
      if (end - t == 3) Tile<3>(tile, shape, x + t, y + t, row, n_rows);
      if (end - t == 2) Tile<2>(tile, shape, x + t, y + t, row, n_rows);
      if (end - t == 1) Tile<1>(tile, shape, x + t, y + t, row, n_rows);
    }
  }
}

}  // namespace

constinit const MatmulKernel matmul_f8_e4m3 = {ActFormat::kF32, Matmul<float>, Matmul<double>};

}  // namespace onecopy::kernels::avx2
