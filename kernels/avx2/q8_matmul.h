// What all integer matmuls of this folder share: activations, loads of packed weights, the shape of row tiles, sums in double.
#pragma once

#include "kernels/avx2/vec.h"
#include "kernels/kernels.h"
#include "kernels/weight_stream.h"

namespace onecopy::kernels::avx2 {
namespace {

constexpr size_t kRowTile = 8;
constexpr size_t kTokenTile = 4;

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

// Fetches what a kernel will read later, while it works on the unit at p. Asked for in bursts, once per source block, one stream
// reaches 12 of the 17 GB/s that a thread can read (Sapphire Rapids).
template <size_t kBytes>
inline void PrefetchUnit(const uint8_t* p, const Ahead& ahead) {
  for (size_t i = 0; i < kBytes; i += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(p + ahead.far + i), _MM_HINT_T1);
    _mm_prefetch(reinterpret_cast<const char*>(p + ahead.near + i), _MM_HINT_T0);
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

}  // namespace
}  // namespace onecopy::kernels::avx2
