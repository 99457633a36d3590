// Integer matmul for many tokens: a block of tokens against a block of rows, one source block (segment) at a time. Activations
// of the segment are copied side by side, weights are decoded once for all tokens, and tiles of 16 rows x 4 tokens do the
// products, so that what is loaded serves four or two times (Goto & van de Geijn 2008, section 4). A type of q8_matmul.h
// takes part by being made of parts (Q4_K is the example):
//   kGroup              vectors whose products one 16-bit sum holds; 0: Unit::w are int16, 16 vectors of two columns
//   Weights(p, j)       vector j of the unit at p, decoded
//   Scales ScalesAt     the rest of the unit; Scale(scales, group): what the 16-bit sums of a group are multiplied with
//   AddProducts         a unit's integer sum into the running sum of one token
//   where blocks have headers: Header LoadHeader, AddOffsets (of what is proportional to the activations' sums), and
//   Finish, which makes a segment's two sums part of the result
// Integers are exact and the float operations of a token the same as in SegmentOfParts, so the bits are too.
#pragma once

#include "kernels/avx2/q8_matmul.h"

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
#pragma GCC unroll 16
  for (size_t j = 0; j < kVectors<Kernel>; ++j) unit->w[j] = Kernel::Weights(p, j);
}

template <size_t kBytes>
inline void GatherToken(const Q8Row& x, size_t u, size_t t, XUnit<kBytes>* out) {
  const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x.q + 32 * u));
  auto* to = reinterpret_cast<__m256i*>(out->q[t]);
  if constexpr (kBytes == 32) {
    _mm256_store_si256(to, q);
  } else {
    _mm256_store_si256(to, _mm256_cvtepi8_epi16(_mm256_castsi256_si128(q)));
    _mm256_store_si256(to + 1, _mm256_cvtepi8_epi16(_mm256_extracti128_si256(q, 1)));
  }
  out->d[t] = x.d[u];
  out->s0[t] = x.s0[u];
  out->s1[t] = x.s1[u];
  out->s[t] = x.s0[u] + x.s1[u];
}

// Keeps a running sum in its register: g++ 12 else puts all products of a unit on the stack first and adds them up later,
// at half the speed.
inline void KeepInRegister(__m256i* sum) {
  asm volatile("" : "+x"(*sum));
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
          const __m256i scaled = _mm256_madd_epi16(sum[r][t], Kernel::Scale(unit[r].scales, g));
          _mm256_store_si256(to, g == 0 ? scaled : _mm256_add_epi32(_mm256_load_si256(to), scaled));
        }
      }
    }
  }
}

// Of one token, in every lane.
struct TokenScales {
  __m256 d, s0, s1, s;
};
template <size_t kBytes>
inline TokenScales ScalesOf(const XUnit<kBytes>& x, size_t t) {
  return {BroadcastF32(x.d + t), BroadcastF32(x.s0 + t), BroadcastF32(x.s1 + t), BroadcastF32(x.s + t)};
}

// What is left of a segment's header; blocks of one unit have none.
template <class Kernel, bool kHasHeader = Kernel::kHeaderBytes != 0>
struct HeaderOf {
  explicit HeaderOf(const uint8_t*) {}
  static constexpr bool kFromAcc = true;
  __m256 Finish(__m256 products, __m256, __m256) const { return products; }
};
template <class Kernel>
struct HeaderOf<Kernel, true> {
  explicit HeaderOf(const uint8_t* p) : header(Kernel::LoadHeader(p)) {}
  static constexpr bool kFromAcc = false;
  __m256 Finish(__m256 products, __m256 offsets, __m256 acc) const {
    return Kernel::Finish(header, products, offsets, acc);
  }
  typename Kernel::Header header;
};

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

// The float term of one unit, for MatmulSumFn.
template <class Kernel>
inline __m256 UnitTerm(const HeaderOf<Kernel>& header, const typename Kernel::Scales& of_unit, __m256i sum,
                       const TokenScales& x) {
  __m256 products = _mm256_setzero_ps(), offsets = _mm256_setzero_ps();
  Kernel::AddProducts(of_unit, sum, x, &products);
  if constexpr (!HeaderOf<Kernel>::kFromAcc) Kernel::AddOffsets(of_unit, x, &offsets);
  return header.Finish(products, offsets, _mm256_setzero_ps());
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
        AddTerm(UnitTerm<Kernel>(headers[r], units[2 * u + r].scales, sums[(2 * u + r) * kTokenTile + t],
                                 ScalesOf(x[u], t)),
                &total[t]);
    }
    for (size_t t = 0; t < kTokenTile; ++t) acc[r * acc_stride + t] = total[t];
  }
}

inline void Clear(__m256* acc) {
  *acc = _mm256_setzero_ps();
}
inline void Clear(Sum8* acc) {
  *acc = {_mm256_setzero_pd(), _mm256_setzero_pd()};
}
template <class Y>
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
template <class Kernel, class Y>
void PanelBlock(const uint8_t* tile, size_t tile_bytes, const TileShape& shape, const void* const* x,
                Y* const* y, size_t n_tokens, size_t row, size_t row_end) {
  constexpr size_t kMostUnits = kPanelUnits<Kernel>;
  const size_t n_groups = (n_tokens + kTokenTile - 1) / kTokenTile;
  const size_t n_tiles = (row_end - row + kRowTile - 1) / kRowTile;
  typename RowSums<Y>::Type acc[kPanelTiles][kPanelTokens];
  for (size_t i = 0; i < (n_tiles + 1) / 2 * 2; ++i)
    for (size_t t = 0; t < n_groups * kTokenTile; ++t) Clear(&acc[i][t]);
  XUnit<kXBytes<Kernel>> x_units[kPanelTokens / kTokenTile][kMostUnits];
  if (n_tokens % kTokenTile != 0) std::memset(&x_units[n_groups - 1], 0, sizeof x_units[0]);
  Unit<Kernel> units[kMostUnits][2];
  __m256i sums[kMostUnits][2][kTokenTile];

  size_t n = shape.head_units < kMostUnits ? shape.head_units : kMostUnits;
  for (size_t unit = 0, at = 0; unit < shape.units; unit += n, n = kMostUnits) {
    if (n > shape.units - unit) n = shape.units - unit;
    for (size_t t = 0; t < n_tokens; ++t) {
      const Q8Row token = MakeQ8Row(x[t], shape.units);
      for (size_t u = 0; u < n; ++u)
        GatherToken(token, unit + u, t % kTokenTile, &x_units[t / kTokenTile][u]);
    }
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

template <class Kernel, class Y>
void MatmulPanels(const PackedMatrix& w, const void* const* x, Y* const* y, size_t n_tokens,
                  uint32_t row_begin, uint32_t row_end) {
  const TileShape shape = MakeTileShape<Kernel>(w);
  const size_t tile_bytes = TileBytes(w);
  constexpr size_t kRows = kPanelTiles * kRowTile;
  for (size_t row = row_begin; row < row_end; row += kRows) {
    const size_t end = row_end - row < kRows ? row_end : row + kRows;
    for (size_t t = 0; t < n_tokens; t += kPanelTokens) {
      const size_t n = n_tokens - t < kPanelTokens ? n_tokens - t : kPanelTokens;
      PanelBlock<Kernel>(w.data + row / kRowTile * tile_bytes, tile_bytes, shape, x + t, y + t, n, row, end);
    }
  }
}

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
  AddTerm(UnitTerm<Kernel>(header, of_unit, sum, x), sums);
}
template <class Kernel>
inline void EndSegment(const HeaderOf<Kernel>&, Sum8*) {}
inline void StoreRows(float* y, size_t n_rows, const FloatSums& sums) {
  StoreRows(y, n_rows, sums.acc);
}
template <class Y>
struct FewSums {
  using Type = FloatSums;
};
template <>
struct FewSums<double> {
  using Type = Sum8;
};

// R row tiles, tile_distance bytes apart, for T tokens; weights are decoded where they are used.
template <class Kernel, int R, int T, class Y>
void FewTokens(const uint8_t* tile, size_t tile_distance, const TileShape& shape, const void* const* x,
               Y* const* y, const size_t* first_row, const size_t* n_rows) {
  typename FewSums<Y>::Type total[R][T];
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
#pragma GCC unroll 4
      for (size_t g = 0; g < 8 / Kernel::kGroup; ++g) {
        __m256i pairs[R][T];
#pragma GCC unroll 8
        for (size_t j = g * Kernel::kGroup; j < (g + 1) * Kernel::kGroup; ++j) {
#pragma GCC unroll 2
          for (int r = 0; r < R; ++r) {
            const __m256i w = Kernel::Weights(tile + r * tile_distance, j);
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
          for (int t = 0; t < T; ++t) {
            const __m256i scaled = _mm256_madd_epi16(pairs[r][t], Kernel::Scale(scales, g));
            sum[r][t] = g == 0 ? scaled : _mm256_add_epi32(sum[r][t], scaled);
          }
        }
      }
      for (int t = 0; t < T; ++t) {
        const TokenScales scales = {BroadcastF32(rows[t].d + u), BroadcastF32(rows[t].s0 + u),
                                    BroadcastF32(rows[t].s1 + u),
                                    _mm256_set1_ps(rows[t].s0[u] + rows[t].s1[u])};
        for (int r = 0; r < R; ++r)
          AddUnit<Kernel>(headers[r], Kernel::ScalesAt(tile + r * tile_distance), sum[r][t], scales,
                          &total[r][t]);
      }
      for (int r = 0; r < R; ++r) PrefetchUnit<Kernel::kUnitBytes>(tile + r * tile_distance);
    }
    for (int r = 0; r < R; ++r)
      for (int t = 0; t < T; ++t) EndSegment<Kernel>(headers[r], &total[r][t]);
  }
  for (int r = 0; r < R; ++r)
    for (int t = 0; t < T; ++t) StoreRows(y[t] + first_row[r], n_rows[r], total[r][t]);
}

// The tiles' first half and second half side by side: activations are loaded once for two tiles, and each half is read
// from front to back.
template <class Kernel, int T, class Y>
void MatmulFew(const PackedMatrix& w, const void* const* x, Y* const* y, uint32_t row_begin,
               uint32_t row_end) {
  const TileShape shape = MakeTileShape<Kernel>(w);
  const size_t tile_bytes = TileBytes(w);
  const size_t n_tiles = (row_end - row_begin + kRowTile - 1) / kRowTile, half = n_tiles / 2;
  const uint8_t* tiles = w.data + row_begin / kRowTile * tile_bytes;
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
      FewTokens<Kernel, 1, T>(tiles + index[0] * tile_bytes, 0, shape, x, y, first, n_rows);
    } else {
      FewTokens<Kernel, 2, T>(tiles + index[0] * tile_bytes, half * tile_bytes, shape, x, y, first, n_rows);
    }
  }
}

template <class Kernel, class Y>
void MatmulParts(const PackedMatrix& w, const void* const* x, Y* const* y, size_t n_tokens,
                 uint32_t row_begin, uint32_t row_end) {
  if (n_tokens >= 4) return MatmulPanels<Kernel>(w, x, y, n_tokens, row_begin, row_end);
  if constexpr (Kernel::kGroup == 0) {
    MatmulQ8<Kernel>(w, x, y, n_tokens, row_begin, row_end);
  } else {
    switch (n_tokens) {
      case 3:
        return MatmulFew<Kernel, 3>(w, x, y, row_begin, row_end);
      case 2:
        return MatmulFew<Kernel, 2>(w, x, y, row_begin, row_end);
      case 1:
        return MatmulFew<Kernel, 1>(w, x, y, row_begin, row_end);
      default:
        return;
    }
  }
}

}  // namespace
}  // namespace onecopy::kernels::avx2
