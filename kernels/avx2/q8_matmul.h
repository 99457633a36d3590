// The loops that all integer matmuls of this folder share: token blocks, row tiles, source blocks. A type
// gives `Kernel`, with
//   kBlockUnits   units per source block, or 0 where blocks have no header and a tile is one run of units
//   kHeaderBytes  kUnitBytes  of a tile, for its 8 rows
//   Segment<T>(header, p, x, first_unit, n_units, acc)
//                 adds to acc[t], for T tokens and 8 rows, the units at p of the segment with that header; first_unit
//                 is of the activations
// A token's result has the same bits whatever tokens stand beside it, since every T does the same operations
// per token.
//
// Tokens go four at a time: the eight vectors of decoded weights of a unit then serve four times, and with
// the accumulators still fit the sixteen registers, nearly.
#pragma once

#include "kernels/avx2/vec.h"
#include "kernels/kernels.h"

namespace onecopy::kernels::avx2 {
namespace {

constexpr size_t kRowTile = 8;
constexpr size_t kTokenTile = 4;
// Activations of one token block: leaves half of a 512 KiB second-level cache (Zen 3) to the weights.
constexpr size_t kTokenBlockBytes = size_t{256} * 1024;

// A kQ8 row, taken apart (kernels.h).
struct Q8Row {
  const int8_t* q;
  const float* d;
  const float* s0;
  const float* s1;
};

inline Q8Row MakeQ8Row(const void* row, size_t units) {
  const auto* q = static_cast<const int8_t*>(row);
  const auto* d = reinterpret_cast<const float*>(q + 32 * units);
  return {q, d, d + units, d + 2 * units};
}

// Four int8 activations in every lane.
inline __m256i Broadcast4(const int8_t* q) {
  int32_t dword;
  std::memcpy(&dword, q, sizeof dword);
  return _mm256_set1_epi32(dword);
}

inline __m256i LoadWeights(const uint8_t* p) {
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
}

// f16[8] of a header or unit.
inline __m256 LoadScales(const uint8_t* p) {
  return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
inline __m256 LoadBf16Scales(const uint8_t* p) {
  const __m128i half = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
}

// Columns 4j … 4j + 3 of 8 rows, of the 32 whose nibbles are at p.
inline __m256i Nibbles(const uint8_t* p, size_t j) {
  const __m256i both = LoadWeights(p + 32 * (j % 4));
  return _mm256_and_si256(j < 4 ? both : _mm256_srli_epi16(both, 4), _mm256_set1_epi8(15));
}

// The 32 columns of 8 rows whose nibbles fill 4 vectors: w[j] columns 4j.., w[4 + j] columns 16 + 4j...
inline void DecodeNibbles(const uint8_t* p, __m256i* w) {
  const __m256i low = _mm256_set1_epi8(15);
  for (size_t j = 0; j < 4; ++j) {
    const __m256i both = LoadWeights(p + 32 * j);
    w[j] = _mm256_and_si256(both, low);
    w[4 + j] = _mm256_and_si256(_mm256_srli_epi16(both, 4), low);
  }
}

// The 6-bit scales and minimums of a Q4_K or Q5_K unit: sc u8[8], m u8[8].
struct UnitScales {
  __m256i scale;  // in both words of each row's dword
  __m256 min;
};

inline UnitScales LoadUnitScales(const uint8_t* p) {
  const __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  const __m256i rows = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  // Shuffle indices with bit 7 set give zero: {r, 0, r, 0} and {8 + r, 0, 0, 0}.
  const __m256i scale_index = _mm256_or_si256(_mm256_or_si256(rows, _mm256_slli_epi32(rows, 16)),
                                              _mm256_set1_epi32(static_cast<int>(0x80008000u)));
  const __m256i min_index = _mm256_or_si256(rows, _mm256_set1_epi32(static_cast<int>(0x80808008u)));
  return {_mm256_shuffle_epi8(both, scale_index), _mm256_cvtepi32_ps(_mm256_shuffle_epi8(both, min_index))};
}

// 16-bit pair sums of unsigned weights w[0..n) times the activations from q on, four columns per vector.
template <size_t n>
inline __m256i PairSums(const __m256i* w, const int8_t* q) {
  __m256i sum = _mm256_maddubs_epi16(w[0], Broadcast4(q));
  for (size_t j = 1; j < n; ++j)
    sum = _mm256_add_epi16(sum, _mm256_maddubs_epi16(w[j], Broadcast4(q + 4 * j)));
  return sum;
}

// Fetches what a kernel will read kPrefetchBytes later, while it works on the unit at p. Without it one stream of
// weights reaches 9 of the 17 GB/s that a thread can read (Sapphire Rapids); asked for in bursts, once per source
// block, 12. Reads nothing, so it may run past the end.
constexpr size_t kPrefetchBytes = 2048;
template <size_t kBytes>
inline void PrefetchUnit(const uint8_t* p) {
  for (size_t i = 0; i < kBytes; i += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(p + kPrefetchBytes + i), _MM_HINT_T0);
  }
}

struct TileShape {
  size_t units;       // of a row
  size_t head_units;  // in the first, perhaps partial, segment
};

template <class Kernel>
inline TileShape MakeTileShape(const PackedMatrix& w) {
  TileShape shape = {w.cols / 32, w.cols / 32};
  if constexpr (Kernel::kBlockUnits != 0) {
    const size_t first = Kernel::kBlockUnits - w.first_col / 32 % Kernel::kBlockUnits;
    if (first < shape.units) shape.head_units = first;
  }
  return shape;
}

inline void StoreRows(float* y, size_t n_rows, __m256 rows) {
  if (n_rows == kRowTile) {
    _mm256_storeu_ps(y, rows);
  } else {
    _mm256_maskstore_ps(y, TailMask(n_rows), rows);
  }
}

// Eight rows in double.
struct Sum8 {
  __m256d low, high;
};

// Adds one float term to each row.
inline void AddTerm(__m256 term, Sum8* sum) {
  sum->low = _mm256_add_pd(sum->low, _mm256_cvtps_pd(_mm256_castps256_ps128(term)));
  sum->high = _mm256_add_pd(sum->high, _mm256_cvtps_pd(_mm256_extractf128_ps(term, 1)));
}

inline void StoreRows(double* y, size_t n_rows, const Sum8& rows) {
  double all[kRowTile];
  _mm256_storeu_pd(all, rows.low);
  _mm256_storeu_pd(all + 4, rows.high);
  for (size_t r = 0; r < n_rows; ++r) y[r] = all[r];
}

inline void StoreRows(double* y, size_t n_rows, __m256 rows) {
  Sum8 sum = {_mm256_setzero_pd(), _mm256_setzero_pd()};
  AddTerm(rows, &sum);
  StoreRows(y, n_rows, sum);
}

// One tile for T tokens: y[t][row .. row + n_rows). The tag says in what a token's units are added up.
template <class Kernel, int T, class Y>
void TileTokens(float /*sum*/, const uint8_t* tile, const TileShape& shape, const void* const* x, Y* const* y,
                size_t row, size_t n_rows) {
  Q8Row rows[T];
  __m256 acc[T];
  for (int t = 0; t < T; ++t) {
    rows[t] = MakeQ8Row(x[t], shape.units);
    acc[t] = _mm256_setzero_ps();
  }
  size_t n = shape.head_units;
  for (size_t unit = 0; unit < shape.units; unit += n, n = Kernel::kBlockUnits) {
    if (n > shape.units - unit) n = shape.units - unit;
    Kernel::template Segment<T>(tile, tile + Kernel::kHeaderBytes, rows, unit, n, acc);
    tile += Kernel::kHeaderBytes + n * Kernel::kUnitBytes;
  }
  for (int t = 0; t < T; ++t) StoreRows(y[t] + row, n_rows, acc[t]);
}

// The same as a sum in double of one float term a unit (MatmulSumFn).
template <class Kernel, int T>
void TileTokens(double /*sum*/, const uint8_t* tile, const TileShape& shape, const void* const* x,
                double* const* y, size_t row, size_t n_rows) {
  Q8Row rows[T];
  Sum8 sum[T];
  for (int t = 0; t < T; ++t) {
    rows[t] = MakeQ8Row(x[t], shape.units);
    sum[t] = {_mm256_setzero_pd(), _mm256_setzero_pd()};
  }
  size_t n = shape.head_units;
  for (size_t unit = 0; unit < shape.units; unit += n, n = Kernel::kBlockUnits) {
    if (n > shape.units - unit) n = shape.units - unit;
    const uint8_t* p = tile + Kernel::kHeaderBytes;
    for (size_t u = unit; u < unit + n; ++u, p += Kernel::kUnitBytes) {
      __m256 term[T];
      for (int t = 0; t < T; ++t) term[t] = _mm256_setzero_ps();
      Kernel::template Segment<T>(tile, p, rows, u, 1, term);
      for (int t = 0; t < T; ++t) AddTerm(term[t], &sum[t]);
    }
    tile = p;
  }
  for (int t = 0; t < T; ++t) StoreRows(y[t] + row, n_rows, sum[t]);
}

// Sum: float or double, in which a token's units are added up; Y: what they are stored as.
template <class Kernel, class Sum, class Y = Sum>
void MatmulQ8(const PackedMatrix& w, const void* const* x, Y* const* y, size_t n_tokens, uint32_t row_begin,
              uint32_t row_end) {
  const TileShape shape = MakeTileShape<Kernel>(w);
  const size_t tile_bytes = TileBytes(w);
  const size_t row_bytes = shape.units * (32 + 3 * sizeof(float)) + 64;
  const size_t fit = kTokenBlockBytes / row_bytes / kTokenTile * kTokenTile;
  const size_t block = fit < kTokenTile ? kTokenTile : fit;
  for (size_t begin = 0; begin < n_tokens; begin += block) {
    const size_t end = n_tokens - begin < block ? n_tokens : begin + block;
    const uint8_t* tile = w.data + row_begin / kRowTile * tile_bytes;
    for (size_t row = row_begin; row < row_end; row += kRowTile, tile += tile_bytes) {
      const size_t n_rows = row_end - row < kRowTile ? row_end - row : kRowTile;
      size_t t = begin;
      for (; t + 4 <= end; t += 4) TileTokens<Kernel, 4>(Sum{}, tile, shape, x + t, y + t, row, n_rows);
      switch (end - t) {
        case 3:
          TileTokens<Kernel, 3>(Sum{}, tile, shape, x + t, y + t, row, n_rows);
          break;
        case 2:
          TileTokens<Kernel, 2>(Sum{}, tile, shape, x + t, y + t, row, n_rows);
          break;
        case 1:
          TileTokens<Kernel, 1>(Sum{}, tile, shape, x + t, y + t, row, n_rows);
          break;
        default:
          break;
      }
    }
  }
}

template <class Kernel>
constexpr MatmulKernel MakeMatmulQ8() {
  return {ActFormat::kQ8, MatmulQ8<Kernel, float>, MatmulQ8<Kernel, double>, MatmulQ8<Kernel, float, double>};
}

}  // namespace
}  // namespace onecopy::kernels::avx2
