// Integer matmul for one to three tokens: two row tiles together, weights decoded where they are used. For types made of
// parts (q8_parts.h).
#pragma once

#include "kernels/avx2/part_sums.h"

namespace onecopy::kernels::avx2 {
namespace {

// Running sums of a row tile and token for few tokens.
struct FloatSums {
  __m256 acc, products, offsets;
};
inline void Clear(FloatSums* sums) {
  sums->acc = _mm256_setzero_ps();
}
template <class Kernel>
inline void BeginSegment(FloatSums* sums) {
  sums->products = HeaderOf<Kernel>::kFromAcc ? sums->acc : _mm256_setzero_ps();
  sums->offsets = _mm256_setzero_ps();
}
template <class Kernel>
inline void AddUnit(const HeaderOf<Kernel>&, const typename Kernel::Scales& of_unit, __m256i sum,
                    const TokenScales& x, FloatSums* sums) {
  Kernel::AddProducts(of_unit, sum, x, &sums->products);
  if constexpr (!HeaderOf<Kernel>::kFromAcc) Kernel::AddOffsets(of_unit, x, &sums->offsets);
}
template <class Kernel>
inline void EndSegment(const HeaderOf<Kernel>& header, FloatSums* sums) {
  sums->acc = header.Finish(sums->products, sums->offsets, sums->acc);
}
template <class Kernel>
inline void BeginSegment(Sum8*) {}
template <class Kernel>
inline void AddUnit(const HeaderOf<Kernel>& header, const typename Kernel::Scales& of_unit, __m256i sum,
                    const TokenScales& x, Sum8* sums) {
  AddTerm(header.Term(of_unit, sum, x), sums);
}
template <class Kernel>
inline void EndSegment(const HeaderOf<Kernel>&, Sum8*) {}
template <class Y>
inline void StoreRows(Y* y, size_t n_rows, const FloatSums& sums) {
  StoreRows(y, n_rows, sums.acc);
}
template <class Sum>
struct FewSums {
  using Type = FloatSums;
};
template <>
struct FewSums<double> {
  using Type = Sum8;
};

// The integer sums of the unit u at `tile`, of R row tiles and T tokens.
template <class Kernel, int R, int T>
inline void UnitProducts(const uint8_t* tile, size_t tile_distance, const Q8Row* rows, size_t u,
                         __m256i (&sum)[R][T]) {
  WeightsOf<Kernel> units[R];
#pragma GCC unroll 2
  for (int r = 0; r < R; ++r) units[r].Load(tile + r * tile_distance);
  if constexpr (Kernel::kGroup == 0) {
    // maddubs wants one unsigned operand, so the weight's sign goes to the activation; one product of at most
    // 2 * 128 * 127 fits 16 bits.
#pragma GCC unroll 8
    for (size_t j = 0; j < 8; ++j) {
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) {
        const __m256i magnitude = units[r].Magnitude(j), sign = units[r].Sign(j);
        __m256i scale = _mm256_set1_epi16(1);
        if constexpr (kScaledWeights<Kernel>) scale = units[r].Scale(j / 4);
#pragma GCC unroll 3
        for (int t = 0; t < T; ++t) {
          const __m256i q = _mm256_sign_epi8(Broadcast4(rows[t].q + 32 * u + 4 * j), sign);
          const __m256i product = _mm256_madd_epi16(_mm256_maddubs_epi16(magnitude, q), scale);
          sum[r][t] = j == 0 ? product : _mm256_add_epi32(sum[r][t], product);
          KeepInRegister(&sum[r][t]);
        }
      }
    }
  } else {
#pragma GCC unroll 4
    for (size_t g = 0; g < 8 / Kernel::kGroup; ++g) {
      __m256i pairs[R][T];
#pragma GCC unroll 8
      for (size_t j = g * Kernel::kGroup; j < (g + 1) * Kernel::kGroup; ++j) {
#pragma GCC unroll 2
        for (int r = 0; r < R; ++r) {
          const __m256i w = units[r].Weights(j);
#pragma GCC unroll 3
          for (int t = 0; t < T; ++t) {
            const __m256i product = _mm256_maddubs_epi16(w, Broadcast4(rows[t].q + 32 * u + 4 * j));
            pairs[r][t] = j == g * Kernel::kGroup ? product : _mm256_add_epi16(pairs[r][t], product);
            KeepInRegister(&pairs[r][t]);
          }
        }
      }
      for (int r = 0; r < R; ++r) {
        const typename Kernel::Scales scales = Kernel::ScalesAt(tile + r * tile_distance);
        for (int t = 0; t < T; ++t) sum[r][t] = AddGroup<Kernel>(scales, g, pairs[r][t], sum[r][t]);
      }
    }
  }
}

// R row tiles, tile_distance bytes apart, each of a stream, for T tokens; weights are decoded where they are used.
template <class Kernel, int R, int T, class Sum, class Y>
void FewTokens(const uint8_t* tile, size_t tile_distance, const WeightStream* streams, const TileShape& shape,
               const void* const* x, Y* const* y, const size_t* first_row, const size_t* n_rows) {
  typename FewSums<Sum>::Type total[R][T];
  Q8Row rows[T];
  for (int t = 0; t < T; ++t) rows[t] = MakeQ8Row(x[t], shape.units);
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < T; ++t) Clear(&total[r][t]);
  size_t n = shape.head_units;
  for (size_t unit = 0; unit < shape.units; unit += n, n = Kernel::kBlockUnits) {
    if (n > shape.units - unit) n = shape.units - unit;
    const HeaderOf<Kernel> headers[2] = {HeaderOf<Kernel>(tile),
                                         HeaderOf<Kernel>(tile + (R - 1) * tile_distance)};
    tile += Kernel::kHeaderBytes;
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < T; ++t) BeginSegment<Kernel>(&total[r][t]);
    for (size_t u = unit; u < unit + n; ++u, tile += Kernel::kUnitBytes) {
      __m256i sum[R][T];
      UnitProducts<Kernel>(tile, tile_distance, rows, u, sum);
      for (int t = 0; t < T; ++t) {
        const TokenScales scales = {BroadcastF32(rows[t].d + u), BroadcastF32(rows[t].s0 + u),
                                    BroadcastF32(rows[t].s1 + u),
                                    _mm256_set1_ps(rows[t].s0[u] + rows[t].s1[u])};
        for (int r = 0; r < R; ++r)
          AddUnit<Kernel>(headers[r], Kernel::ScalesAt(tile + r * tile_distance), sum[r][t], scales,
                          &total[r][t]);
      }
      for (int r = 0; r < R; ++r) {
        const uint8_t* unit_at = tile + r * tile_distance;
        PrefetchUnit<Kernel::kUnitBytes>(unit_at, streams[r].From(unit_at));
      }
    }
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < T; ++t) EndSegment<Kernel>(headers[r], &total[r][t]);
  }
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < T; ++t) StoreRows(y[t] + first_row[r], n_rows[r], total[r][t]);
}

// The tiles' first half and second half side by side: activations are loaded once for two tiles, and each half is read
// from front to back.
template <class Kernel, int T, class Sum, class Y>
void MatmulFew(const PackedMatrix& w, const void* const* x, Y* const* y, uint32_t row_begin,
               uint32_t row_end) {
  const TileShape shape = MakeTileShape<Kernel>(w);
  const size_t tile_bytes = TileBytes(w);
  const size_t n_tiles = (row_end - row_begin + kRowTile - 1) / kRowTile, half = n_tiles / 2;
  const uint8_t* tiles = w.data + row_begin / kRowTile * tile_bytes;
  const WeightStream streams[2] = {{tiles + half * tile_bytes, NextTile(w, false)},
                                   {tiles + n_tiles * tile_bytes, NextTile(w, true)}};
  for (size_t i = 0; i < n_tiles - half; ++i) {
    // Of an odd number of tiles, the second half has one more, and its last is alone.
    const bool alone = i == half;
    const size_t index[2] = {alone ? n_tiles - 1 : i, i + half};
    size_t first[2], n_rows[2];
    for (size_t r = 0; r < 2; ++r) {
      first[r] = row_begin + index[r] * kRowTile;
      n_rows[r] = row_end - first[r] < kRowTile ? row_end - first[r] : kRowTile;
    }
    if (alone) {
      FewTokens<Kernel, 1, T, Sum>(tiles + index[0] * tile_bytes, 0, streams + 1, shape, x, y, first, n_rows);
    } else {
      FewTokens<Kernel, 2, T, Sum>(tiles + index[0] * tile_bytes, half * tile_bytes, streams, shape, x, y,
                                   first, n_rows);
    }
  }
}

}  // namespace
}  // namespace onecopy::kernels::avx2
