// Integer matmul for many tokens: a block of tokens against a block of rows, one source block (segment) at a time. Activations
// of the segment are copied side by side, weights are decoded once for all tokens, and tiles of 16 rows x 4 tokens do the
// products, so that what is loaded serves four or two times (Goto & van de Geijn 2008, section 4). For types made of parts
// (q8_parts.h).
#pragma once

#include "kernels/avx2/part_sums.h"

namespace onecopy::kernels::avx2 {
namespace {

constexpr size_t kPanelTiles = 8;  // row tiles of a block: 64 rows, as the tasks of exec have for many tokens
constexpr size_t kPanelTokens = 32;  // of a block: the activations of a segment stay in the first-level cache

// Four tokens' activations of a unit.
template <size_t kBytes>
struct alignas(32) XUnit {
  int8_t q[kTokenTile][kBytes];
  float d[kTokenTile], s0[kTokenTile], s1[kTokenTile], s[kTokenTile];
};

// What a unit's quants take, and how many units are taken at a time.
template <class Kernel>
constexpr size_t kXBytes = Kernel::kGroup == 0 ? 64 : 32;
template <class Kernel>
constexpr size_t kPanelUnits = Kernel::kBlockUnits == 0 ? 4 : Kernel::kBlockUnits;

// Two of four columns of every row, as int16: half 0 the first two. Each byte goes above a zero one, then back down with its
// sign. The products of 32 columns take 16 multiplications and 16
// additions, against 8 each of sign, maddubs and madd, which compete for the same units, and 8 additions.
inline __m256i WidenPairs(__m256i bytes, size_t half) {
  const auto b = static_cast<char>(2 * half);
  const __m256i row = _mm256_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12);
  const __m256i places = _mm256_set1_epi32((b + 1) << 24 | 0x80 << 16 | b << 8 | 0x80);
  const __m256i index =
      _mm256_add_epi8(_mm256_or_si256(_mm256_slli_epi32(row, 8), _mm256_slli_epi32(row, 24)), places);
  return _mm256_srai_epi16(_mm256_shuffle_epi8(bytes, index), 8);
}

// A decoded unit.
template <class Kernel>
constexpr size_t kVectors = Kernel::kGroup == 0 ? 16 : 8;
template <class Kernel>
struct Unit {
  __m256i w[kVectors<Kernel>];
  typename Kernel::Scales scales;
};
template <class Kernel>
inline void LoadUnit(const uint8_t* p, Unit<Kernel>* unit) {
  unit->scales = Kernel::ScalesAt(p);
  WeightsOf<Kernel> weights;
  weights.Load(p);
#pragma GCC unroll 16
  for (size_t j = 0; j < kVectors<Kernel>; ++j) {
    if constexpr (kScaledWeights<Kernel>) {
      unit->w[j] = _mm256_mullo_epi16(WidenPairs(weights.Weights(j / 2), j % 2), weights.Scale(j / 8));
    } else if constexpr (Kernel::kGroup == 0) {
      unit->w[j] = WidenPairs(weights.Weights(j / 2), j % 2);
    } else {
      unit->w[j] = weights.Weights(j);
    }
  }
}

// The quants of a unit, as they meet the weights.
template <size_t kBytes>
inline void GatherQuants(const int8_t* from, int8_t* to) {
  const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
  auto* out = reinterpret_cast<__m256i*>(to);
  if constexpr (kBytes == 32) {
    _mm256_store_si256(out, q);
  } else {
    _mm256_store_si256(out, _mm256_cvtepi8_epi16(_mm256_castsi256_si128(q)));
    _mm256_store_si256(out + 1, _mm256_cvtepi8_epi16(_mm256_extracti128_si256(q, 1)));
  }
}

// Of four units u, lane by lane: four tokens' values of one unit side by side.
inline void FourByFour(const float* const* rows, size_t u, __m128* of_unit) {
  for (size_t t = 0; t < kTokenTile; ++t) of_unit[t] = _mm_loadu_ps(rows[t] + u);
  _MM_TRANSPOSE4_PS(of_unit[0], of_unit[1], of_unit[2], of_unit[3]);
}

// Units [first, first + n) of four tokens.
template <size_t kBytes>
inline void Gather(const Q8Row* x, size_t first, size_t n, XUnit<kBytes>* out) {
  for (size_t t = 0; t < kTokenTile; ++t)
    for (size_t u = 0; u < n; ++u) GatherQuants<kBytes>(x[t].q + 32 * (first + u), out[u].q[t]);
  const float* d[kTokenTile];
  const float* s0[kTokenTile];
  const float* s1[kTokenTile];
  for (size_t t = 0; t < kTokenTile; ++t) {
    d[t] = x[t].d;
    s0[t] = x[t].s0;
    s1[t] = x[t].s1;
  }
  size_t u = 0;
  for (; u + 4 <= n; u += 4) {
    __m128 of_d[4], of_s0[4], of_s1[4];
    FourByFour(d, first + u, of_d);
    FourByFour(s0, first + u, of_s0);
    FourByFour(s1, first + u, of_s1);
    for (size_t i = 0; i < 4; ++i) {
      _mm_store_ps(out[u + i].d, of_d[i]);
      _mm_store_ps(out[u + i].s0, of_s0[i]);
      _mm_store_ps(out[u + i].s1, of_s1[i]);
      _mm_store_ps(out[u + i].s, _mm_add_ps(of_s0[i], of_s1[i]));
    }
  }
  for (; u < n; ++u) {
    for (size_t t = 0; t < kTokenTile; ++t) {
      out[u].d[t] = d[t][first + u];
      out[u].s0[t] = s0[t][first + u];
      out[u].s1[t] = s1[t][first + u];
      out[u].s[t] = s0[t][first + u] + s1[t][first + u];
    }
  }
}

// The integer sums of a unit for two row tiles and four tokens: out[r][t].
template <class Kernel>
inline void UnitSums(const Unit<Kernel>* unit, const XUnit<kXBytes<Kernel>>& x, __m256i* out) {
  constexpr size_t kGroup = Kernel::kGroup == 0 ? kVectors<Kernel> : Kernel::kGroup;
#pragma GCC unroll 4
  for (size_t g = 0; g < kVectors<Kernel> / kGroup; ++g) {
    __m256i sum[2][kTokenTile];
#pragma GCC unroll 16
    for (size_t j = g * kGroup; j < (g + 1) * kGroup; ++j) {
#pragma GCC unroll 4
      for (size_t t = 0; t < kTokenTile; ++t) {
        const __m256i q = Broadcast4(x.q[t] + 4 * j);
#pragma GCC unroll 2
        for (size_t r = 0; r < 2; ++r) {
          if constexpr (Kernel::kGroup == 0) {
            const __m256i product = _mm256_madd_epi16(unit[r].w[j], q);
            sum[r][t] = j == 0 ? product : _mm256_add_epi32(sum[r][t], product);
          } else {
            const __m256i product = _mm256_maddubs_epi16(unit[r].w[j], q);
            sum[r][t] = j == g * kGroup ? product : _mm256_add_epi16(sum[r][t], product);
          }
          KeepInRegister(&sum[r][t]);
        }
      }
    }
#pragma GCC unroll 2
    for (size_t r = 0; r < 2; ++r) {
#pragma GCC unroll 4
      for (size_t t = 0; t < kTokenTile; ++t) {
        __m256i* to = out + r * kTokenTile + t;
        if constexpr (Kernel::kGroup == 0) {
          _mm256_store_si256(to, sum[r][t]);
        } else {
          const __m256i before = g == 0 ? _mm256_setzero_si256() : _mm256_load_si256(to);
          _mm256_store_si256(to, AddGroup<Kernel>(unit[r].scales, g, sum[r][t], before));
        }
      }
    }
  }
}

template <size_t kBytes>
inline TokenScales ScalesOf(const XUnit<kBytes>& x, size_t t) {
  return {BroadcastF32(x.d + t), BroadcastF32(x.s0 + t), BroadcastF32(x.s1 + t), BroadcastF32(x.s + t)};
}

// A segment's sums into acc[r * acc_stride + t], for two row tiles and four tokens. sums: [n_units][2][kTokenTile];
// units: [n_units][2]. Both tiles together, so that a token's scale is loaded once for them.
template <class Kernel>
inline void AddSums(const HeaderOf<Kernel>* headers, const Unit<Kernel>* units,
                    const XUnit<kXBytes<Kernel>>* x, const __m256i* sums, size_t n_units, __m256* acc,
                    size_t acc_stride) {
  constexpr bool kFromAcc = HeaderOf<Kernel>::kFromAcc;
  __m256 products[2][kTokenTile], offsets[2][kTokenTile] = {};
  for (size_t r = 0; r < 2; ++r)
    for (size_t t = 0; t < kTokenTile; ++t)
      products[r][t] = kFromAcc ? acc[r * acc_stride + t] : _mm256_setzero_ps();
  for (size_t u = 0; u < n_units; ++u) {
#pragma GCC unroll 4
    for (size_t t = 0; t < kTokenTile; ++t) {
      const TokenScales scales = ScalesOf(x[u], t);
#pragma GCC unroll 2
      for (size_t r = 0; r < 2; ++r)
        Kernel::AddProducts(units[2 * u + r].scales, sums[(2 * u + r) * kTokenTile + t], scales,
                            &products[r][t]);
    }
  }
  if constexpr (!kFromAcc) {
    for (size_t u = 0; u < n_units; ++u) {
#pragma GCC unroll 4
      for (size_t t = 0; t < kTokenTile; ++t) {
        const TokenScales scales = ScalesOf(x[u], t);
#pragma GCC unroll 2
        for (size_t r = 0; r < 2; ++r) Kernel::AddOffsets(units[2 * u + r].scales, scales, &offsets[r][t]);
      }
    }
  }
  for (size_t r = 0; r < 2; ++r)
    for (size_t t = 0; t < kTokenTile; ++t) {
      __m256* sum = acc + r * acc_stride + t;
      *sum = headers[r].Finish(products[r][t], offsets[r][t], *sum);
    }
}

template <class Kernel>
inline void AddSums(const HeaderOf<Kernel>* headers, const Unit<Kernel>* units,
                    const XUnit<kXBytes<Kernel>>* x, const __m256i* sums, size_t n_units, Sum8* acc,
                    size_t acc_stride) {
  for (size_t r = 0; r < 2; ++r) {
    Sum8 total[kTokenTile];
    for (size_t t = 0; t < kTokenTile; ++t) total[t] = acc[r * acc_stride + t];
    for (size_t u = 0; u < n_units; ++u) {
#pragma GCC unroll 4
      for (size_t t = 0; t < kTokenTile; ++t)
        AddTerm(
            headers[r].Term(units[2 * u + r].scales, sums[(2 * u + r) * kTokenTile + t], ScalesOf(x[u], t)),
            &total[t]);
    }
    for (size_t t = 0; t < kTokenTile; ++t) acc[r * acc_stride + t] = total[t];
  }
}

template <class Sum>
struct RowSums;
template <>
struct RowSums<float> {
  using Type = __m256;
};
template <>
struct RowSums<double> {
  using Type = Sum8;
};

// At most kPanelTokens tokens, at most kPanelTiles tiles from `tile` on, whose first row is `row`; row_end as in MatmulFn.
template <class Kernel, class Sum, class Y>
void PanelBlock(const uint8_t* tile, size_t tile_bytes, const TileShape& shape, const void* const* x,
                Y* const* y, size_t n_tokens, size_t row, size_t row_end) {
  constexpr size_t kMostUnits = kPanelUnits<Kernel>;
  const size_t n_groups = (n_tokens + kTokenTile - 1) / kTokenTile;
  const size_t n_tiles = (row_end - row + kRowTile - 1) / kRowTile;
  typename RowSums<Sum>::Type acc[kPanelTiles][kPanelTokens];
  for (size_t i = 0; i < (n_tiles + 1) / 2 * 2; ++i)
    for (size_t t = 0; t < n_groups * kTokenTile; ++t) Clear(&acc[i][t]);
  Q8Row rows[kPanelTokens];
  // A last group of fewer than four is filled up with the first token: what comes of it is not stored.
  for (size_t t = 0; t < n_groups * kTokenTile; ++t)
    rows[t] = MakeQ8Row(x[t < n_tokens ? t : 0], shape.units);
  XUnit<kXBytes<Kernel>> x_units[kPanelTokens / kTokenTile][kMostUnits];
  Unit<Kernel> units[kMostUnits][2];
  __m256i sums[kMostUnits][2][kTokenTile];

  size_t n = shape.head_units < kMostUnits ? shape.head_units : kMostUnits;
  for (size_t unit = 0, at = 0; unit < shape.units; unit += n, n = kMostUnits) {
    if (n > shape.units - unit) n = shape.units - unit;
    // Never, but g++ 12 does not see it, and warns.
    if (n == 0) break;
    for (size_t g = 0; g < n_groups; ++g) Gather(rows + g * kTokenTile, unit, n, x_units[g]);
    const size_t segment_bytes = Kernel::kHeaderBytes + n * Kernel::kUnitBytes;
    for (size_t i = 0; i < n_tiles; i += 2) {
      // An odd last tile stands in for its missing neighbour too.
      const uint8_t* first = tile + i * tile_bytes + at;
      const uint8_t* second = n_tiles - i < 2 ? first : first + tile_bytes;
      const HeaderOf<Kernel> headers[2] = {HeaderOf<Kernel>(first), HeaderOf<Kernel>(second)};
      for (size_t u = 0; u < n; ++u) {
        const size_t offset = Kernel::kHeaderBytes + u * Kernel::kUnitBytes;
        LoadUnit<Kernel>(first + offset, &units[u][0]);
        LoadUnit<Kernel>(second + offset, &units[u][1]);
      }
      for (size_t b = 0; b < segment_bytes; b += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(first + 2 * tile_bytes + b), _MM_HINT_T0);
        _mm_prefetch(reinterpret_cast<const char*>(second + 2 * tile_bytes + b), _MM_HINT_T0);
      }
      for (size_t g = 0; g < n_groups; ++g) {
        for (size_t u = 0; u < n; ++u) UnitSums<Kernel>(units[u], x_units[g][u], sums[u][0]);
        AddSums<Kernel>(headers, units[0], x_units[g], sums[0][0], n, acc[i] + g * kTokenTile, kPanelTokens);
      }
    }
    at += segment_bytes;
  }
  for (size_t i = 0; i < n_tiles; ++i) {
    const size_t first = row + i * kRowTile, n_rows = row_end - first < kRowTile ? row_end - first : kRowTile;
    for (size_t t = 0; t < n_tokens; ++t) StoreRows(y[t] + first, n_rows, acc[i][t]);
  }
}

template <class Kernel, class Sum, class Y>
void MatmulPanels(const PackedMatrix& w, const void* const* x, Y* const* y, size_t n_tokens,
                  uint32_t row_begin, uint32_t row_end) {
  const TileShape shape = MakeTileShape<Kernel>(w);
  const size_t tile_bytes = TileBytes(w);
  constexpr size_t kRows = kPanelTiles * kRowTile;
  for (size_t row = row_begin; row < row_end; row += kRows) {
    const size_t end = row_end - row < kRows ? row_end : row + kRows;
    for (size_t t = 0; t < n_tokens; t += kPanelTokens) {
      const size_t n = n_tokens - t < kPanelTokens ? n_tokens - t : kPanelTokens;
      PanelBlock<Kernel, Sum>(w.data + row / kRowTile * tile_bytes, tile_bytes, shape, x + t, y + t, n, row,
                              end);
    }
  }
}

}  // namespace
}  // namespace onecopy::kernels::avx2
