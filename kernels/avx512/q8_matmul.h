// The loops that all integer matmuls of this folder share: token blocks, row tiles, source blocks. A type
// gives `Kernel`, with
//   kBlockUnits   units per source block, or 0 where blocks have no header and a tile is one run of units
//   kHeaderBytes  kUnitBytes  of a tile, for its 16 rows
//   kPrefetchedBytes  of a unit, whose successors Unit prefetches itself
//   Header        what is known of a source block; LoadHeader(p) makes it
//   kMostPairedTokens  see MostPairedTokens; may be left out
//   Prepare(scales, row)  what Unit wants of the next sixteen units of a row of activations
//   Unit<T>(header, p, x, u, acc)
//                 adds to acc[t], for T tokens and 16 rows, the unit at p; u is its number among the activations'
// A token's result has the same bits whatever tokens stand beside it, since every T does the same operations
// per token.
//
// Up to eight tokens at a time: an integer sum and a float sum each leave half of the 32 registers to the decoded
// weights, of which each vector is used for all tokens as soon as it is made. vpdpbusd takes unsigned weights: those of types
// with signed ones are `offset` too large, so integer sums begin with that much less, -offset times the sum of the activations.
// vpdpbusd and the multiplications of floats share their ports, so what is left of the latter counts: a unit of Q8_0 has 64 + 16
// for eight tokens.
#pragma once

#include <array>
#include <utility>

#include "kernels/avx512/q8_row.h"
#include "kernels/kernels.h"
#include "kernels/weight_stream.h"

namespace onecopy::kernels::avx512 {
namespace {

constexpr size_t kRowTile = 16;
constexpr size_t kTokenTile = 8;
// Activations of one token block: a quarter of a 1 MiB second-level cache (Skylake) and less of later ones.
constexpr size_t kTokenBlockBytes = size_t{256} * 1024;

inline __m512i LoadWeights(const uint8_t* p) {
  return _mm512_loadu_si512(p);
}

// u8[16] or i8[16] of a unit.
inline __m128i LoadBytes(const uint8_t* p) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
}

// bf16[16] of a header or unit.
inline __m512 LoadBf16(const uint8_t* p) {
  const __m256i halves = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

inline __m512 Negated(__m512 x) {
  return _mm512_sub_ps(_mm512_setzero_ps(), x);
}

// sum[t] += four columns of 16 rows times the activations at q + offset. By hand, since GCC 12 broadcasts with an instruction of
// its own, which halves how far ahead the processor sees.
template <int T>
inline void AddColumns4(__m512i w, const Q8Row* x, size_t offset, __m512i* sum) {
  for (int t = 0; t < T; ++t)
    asm("vpdpbusd %2%{1to16%}, %1, %0"
        : "+v"(sum[t])
        : "v"(w), "m"(*reinterpret_cast<const int8_t(*)[4]>(x[t].q + offset)));
}

template <int T>
inline void Clear(__m512i* sum) {
  for (int t = 0; t < T; ++t) sum[t] = _mm512_setzero_si512();
}

// half: of the unit, where its halves have sums of their own.
template <int T>
inline void Start(const Q8Row* x, size_t u, __m512i* sum, int half = 0) {
  for (int t = 0; t < T; ++t) sum[t] = _mm512_set1_epi32(x[t].start[half][u % kPreparedUnits]);
}

// Fetches what a kernel will read later, while it works on the line at p. One line at a time between the work: all lines of a
// unit at once, which is also where the compiler would move them, cost a thread 5 % of its bandwidth (Q4_K: 15.0 GB/s, so 15.8).
inline void PrefetchLine(const uint8_t* p, const Ahead& ahead) {
  asm volatile("prefetcht1 %0" : : "m"(p[ahead.far]));
  asm volatile("prefetcht0 %0" : : "m"(p[ahead.near]));
}

// Of a unit of nibbles, which NibbleSums prefetches.
constexpr size_t kNibbleBytes = 16 * kRowTile;

// Integer sums of a unit of nibbles: columns 4j.. in the low nibbles of group j, 16 + 4j.. in the high ones.
// Decode(nibbles, j, high) makes the unsigned bytes to multiply with, j from 0 to 3.
template <int T, class Decode>
inline void NibbleSums(const uint8_t* p, const Q8Row* x, size_t u, Decode decode, __m512i* sum) {
  const __m512i low = _mm512_set1_epi8(15);
  for (size_t j = 0; j < 4; ++j) {
    const __m512i both = LoadWeights(p + 64 * j);
    PrefetchLine(p + 64 * j, x->ahead);
    AddColumns4<T>(decode(_mm512_and_si512(both, low), j, false), x, 32 * u + 4 * j, sum);
    AddColumns4<T>(decode(_mm512_and_si512(_mm512_srli_epi16(both, 4), low), j, true), x, 32 * u + 16 + 4 * j,
                   sum);
  }
}

// acc[t] += scale * d * sum
template <int T>
inline void AddUnit(const __m512i* sum, __m512 scale, const Q8Row* x, size_t u, __m512* acc) {
  for (int t = 0; t < T; ++t) {
    const __m512 scaled =
        _mm512_mul_ps(_mm512_cvtepi32_ps(sum[t]), BroadcastF32(x[t].d + u % kPreparedUnits));
    acc[t] = _mm512_fmadd_ps(scale, scaled, acc[t]);
  }
}

// The same of a unit whose halves have scales of their own.
template <int T>
inline void AddHalves(const __m512i* sum0, const __m512i* sum1, __m512 scale0, __m512 scale1, const Q8Row* x,
                      size_t u, __m512* acc) {
  for (int t = 0; t < T; ++t) {
    __m512 term = _mm512_mul_ps(scale0, _mm512_cvtepi32_ps(sum0[t]));
    term = _mm512_fmadd_ps(scale1, _mm512_cvtepi32_ps(sum1[t]), term);
    acc[t] = _mm512_fmadd_ps(term, BroadcastF32(x[t].d + u % kPreparedUnits), acc[t]);
  }
}

// acc[t] += scale * d * sum - min * s, as the types with minimums have it.
template <int T>
inline void AddMinUnit(const __m512i* sum, __m512 scale, __m512 min, const Q8Row* x, size_t u, __m512* acc) {
  AddUnit<T>(sum, scale, x, u, acc);
  for (int t = 0; t < T; ++t)
    acc[t] = _mm512_fnmadd_ps(min, BroadcastF32(x[t].s[0] + u % kPreparedUnits), acc[t]);
}

// The header of Q4_K and Q5_K, and a unit's 6-bit values under it: sc u8[16], m u8[16].
struct MinHeader {
  __m512 d, dmin;
};
inline MinHeader LoadMinHeader(const uint8_t* p) {
  return {LoadF16(p), LoadF16(p + 2 * kRowTile)};
}
inline __m512 UnitScale(const MinHeader& header, const uint8_t* p) {
  return _mm512_mul_ps(header.d, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(LoadBytes(p))));
}
inline __m512 UnitMin(const MinHeader& header, const uint8_t* p) {
  return _mm512_mul_ps(header.dmin, _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(LoadBytes(p + kRowTile))));
}

// The header of Q3_K, Q6_K and IQ4_XS, and what a signed byte a row of a unit makes of it.
struct ScaleHeader {
  __m512 d;
};
inline __m512 SignedScale(const ScaleHeader& header, const uint8_t* p) {
  return _mm512_mul_ps(header.d, _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(LoadBytes(p))));
}

// The header of types that have none.
struct NoHeader {};

struct TileShape {
  size_t units;       // of a row
  size_t head_units;  // in the first, perhaps partial, source block
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

// 16 rows' sums for T tokens, in float or (MatmulSumFn) in double of one float term a unit.
template <class Y, int T>
struct Sums;

template <int T>
struct Sums<float, T> {
  __m512 acc[T];

  Sums() {
    for (auto& a : acc) a = _mm512_setzero_ps();
  }
  template <class Kernel>
  void AddUnit(const typename Kernel::Header& header, const uint8_t* p, const Q8Row* x, size_t u) {
    Kernel::template Unit<T>(header, p, x, u, acc);
  }
  void Store(float* const* y, size_t row, __mmask16 rows) const {
    for (int t = 0; t < T; ++t) _mm512_mask_storeu_ps(y[t] + row, rows, acc[t]);
  }
};

template <int T>
struct Sums<double, T> {
  __m512d low[T], high[T];

  Sums() {
    for (int t = 0; t < T; ++t) low[t] = high[t] = _mm512_setzero_pd();
  }
  template <class Kernel>
  void AddUnit(const typename Kernel::Header& header, const uint8_t* p, const Q8Row* x, size_t u) {
    __m512 term[T];
    for (auto& a : term) a = _mm512_setzero_ps();
    Kernel::template Unit<T>(header, p, x, u, term);
    for (int t = 0; t < T; ++t) {
      low[t] = _mm512_add_pd(low[t], _mm512_cvtps_pd(_mm512_castps512_ps256(term[t])));
      high[t] = _mm512_add_pd(high[t], _mm512_cvtps_pd(_mm512_extractf32x8_ps(term[t], 1)));
    }
  }
  void Store(double* const* y, size_t row, __mmask16 rows) const {
    for (int t = 0; t < T; ++t) {
      _mm512_mask_storeu_pd(y[t] + row, static_cast<__mmask8>(rows), low[t]);
      _mm512_mask_storeu_pd(y[t] + row + 8, static_cast<__mmask8>(rows >> 8), high[t]);
    }
  }
};

// Many tokens take several passes over a tile. Each fetches its share of the next one: the first pass would otherwise wait for
// memory, which the others leave idle.
struct Pass {
  size_t number = 0, of = 1;
};

template <class Kernel>
inline void PrefetchShare(const uint8_t* unit, ptrdiff_t ahead, const Pass& pass) {
  if (ahead == 0) return;
  for (size_t i = 64 * pass.number; i < Kernel::kUnitBytes; i += 64 * pass.of)
    asm volatile("prefetcht1 %0" : : "m"(unit[ahead + static_cast<ptrdiff_t>(i)]));
}

// R tiles, tile_distance bytes apart, each of a stream, for T tokens: y[t][first_row[r] .. first_row[r] + n_rows[r]).
template <class Kernel, class Y, int R, int T>
void TilesTokens(const uint8_t* p, size_t tile_distance, const WeightStream* streams, const TileShape& shape,
                 const void* const* x, Y* const* y, const size_t* first_row, const size_t* n_rows,
                 const Pass& pass = {}) {
  Q8Row rows[T];
  for (int t = 0; t < T; ++t) TakeApart(x[t], shape.units, &rows[t]);
  Sums<Y, T> sums[R];
  size_t n = shape.head_units;
  for (size_t unit = 0; unit < shape.units; unit += n, n = Kernel::kBlockUnits) {
    if (n > shape.units - unit) n = shape.units - unit;
    typename Kernel::Header headers[R];
    for (int r = 0; r < R; ++r) {
      const uint8_t* header = p + r * tile_distance;
      headers[r] = Kernel::LoadHeader(header);
      if constexpr (Kernel::kHeaderBytes != 0) PrefetchLine(header, streams[r].From(header));
    }
    p += Kernel::kHeaderBytes;
    for (size_t u = unit; u < unit + n; ++u, p += Kernel::kUnitBytes) {
      if (u % kPreparedUnits == 0) {
        for (int t = 0; t < T; ++t) {
          const UnitScales scales = LoadScales(rows[t], u, TailMask(shape.units - u));
          _mm512_store_ps(rows[t].d, scales.d);
          Kernel::Prepare(scales, &rows[t]);
        }
      }
#pragma GCC unroll 2
      for (int r = 0; r < R; ++r) {
        const uint8_t* tile = p + r * tile_distance;
        rows->ahead = streams[r].From(tile);
        if (pass.of == 1) {
          for (size_t i = Kernel::kPrefetchedBytes; i < Kernel::kUnitBytes; i += 64)
            PrefetchLine(tile + i, rows->ahead);
        } else {
          PrefetchShare<Kernel>(tile, streams[r].At(tile, static_cast<ptrdiff_t>(tile_distance)), pass);
        }
        sums[r].template AddUnit<Kernel>(headers[r], tile, rows, u);
      }
    }
  }
  for (int r = 0; r < R; ++r) sums[r].Store(y, first_row[r], TailMask(n_rows[r]));
}

// One tile for T tokens: y[t][row .. row + n_rows).
template <class Kernel, class Y, int T>
void TileTokens(const uint8_t* p, size_t tile_bytes, const WeightStream& stream, const TileShape& shape,
                const void* const* x, Y* const* y, size_t row, size_t n_rows, const Pass& pass) {
  TilesTokens<Kernel, Y, 1, T>(p, tile_bytes, &stream, shape, x, y, &row, &n_rows, pass);
}

// The first half of the tiles and the second half side by side, each read from front to back: two streams of weights from
// memory. One token takes 6 to 13 % less time than by one stream, two to four 5 to 20 %; four streams gain no more.
template <class Kernel, class Y, int T>
void MatmulPairs(const PackedMatrix& w, const void* const* x, Y* const* y, uint32_t row_begin,
                 uint32_t row_end) {
  const TileShape shape = MakeTileShape<Kernel>(w);
  const size_t tile_bytes = TileBytes(w);
  const size_t n_tiles = (row_end - row_begin + kRowTile - 1) / kRowTile, half = n_tiles / 2;
  const uint8_t* tiles = w.data + row_begin / kRowTile * tile_bytes;
  const auto first_row = [&](size_t tile) { return row_begin + tile * kRowTile; };
  const auto n_rows = [&](size_t tile) {
    const size_t left = row_end - first_row(tile);
    return left < kRowTile ? left : kRowTile;
  };
  // An odd tile, which is the last, continues the second stream.
  const WeightStream streams[2] = {{tiles + half * tile_bytes, NextTile(w, false)},
                                   {tiles + n_tiles * tile_bytes, NextTile(w, true)}};
  for (size_t i = 0; i < half; ++i) {
    const size_t first[2] = {first_row(i), first_row(half + i)}, n[2] = {n_rows(i), n_rows(half + i)};
    TilesTokens<Kernel, Y, 2, T>(tiles + i * tile_bytes, half * tile_bytes, streams, shape, x, y, first, n);
  }
  if (n_tiles % 2 == 0) return;
  const size_t last = n_tiles - 1;
  TileTokens<Kernel, Y, T>(tiles + last * tile_bytes, tile_bytes, streams[1], shape, x, y, first_row(last),
                           n_rows(last), {});
}

// So many tokens' sums of two tiles leave registers enough; a type whose weights need no decoding has more to give.
template <class Kernel>
constexpr size_t MostPairedTokens() {
  if constexpr (requires { Kernel::kMostPairedTokens; }) return Kernel::kMostPairedTokens;
  return 4;
}

template <class Kernel, class Y, size_t... T>
constexpr auto MakeMatmulPairs(std::index_sequence<T...>) {
  return std::array{MatmulPairs<Kernel, Y, static_cast<int>(T) + 1>...};
}

// n_tokens of 1 to 8.
template <class Kernel, class Y>
void TileOfTokens(size_t n_tokens, const uint8_t* tile, size_t tile_bytes, const WeightStream& stream,
                  const TileShape& shape, const void* const* x, Y* const* y, size_t row, size_t n_rows,
                  const Pass& pass) {
  using Fn = void (*)(const uint8_t*, size_t, const WeightStream&, const TileShape&, const void* const*,
                      Y* const*, size_t, size_t, const Pass&);
  static constexpr Fn kByTokens[kTokenTile] = {
      TileTokens<Kernel, Y, 1>, TileTokens<Kernel, Y, 2>, TileTokens<Kernel, Y, 3>, TileTokens<Kernel, Y, 4>,
      TileTokens<Kernel, Y, 5>, TileTokens<Kernel, Y, 6>, TileTokens<Kernel, Y, 7>, TileTokens<Kernel, Y, 8>};
  kByTokens[n_tokens - 1](tile, tile_bytes, stream, shape, x, y, row, n_rows, pass);
}

// Y: float or double.
template <class Kernel, class Y>
void MatmulQ8(const PackedMatrix& w, const void* const* x, Y* const* y, size_t n_tokens, uint32_t row_begin,
              uint32_t row_end) {
  if (n_tokens > 0 && n_tokens <= MostPairedTokens<Kernel>()) {
    static constexpr auto kByTokens =
        MakeMatmulPairs<Kernel, Y>(std::make_index_sequence<MostPairedTokens<Kernel>()>());
    return kByTokens[n_tokens - 1](w, x, y, row_begin, row_end);
  }
  const TileShape shape = MakeTileShape<Kernel>(w);
  const size_t tile_bytes = TileBytes(w);
  const size_t row_bytes = shape.units * (32 + 3 * sizeof(float)) + 64;
  const size_t fit = kTokenBlockBytes / row_bytes / kTokenTile * kTokenTile;
  const size_t block = fit < kTokenTile ? kTokenTile : fit;
  const uint8_t* tiles = w.data + row_begin / kRowTile * tile_bytes;
  const WeightStream stream(tiles + (row_end - row_begin + kRowTile - 1) / kRowTile * tile_bytes,
                            NextTile(w, false));
  for (size_t begin = 0; begin < n_tokens; begin += block) {
    const size_t end = n_tokens - begin < block ? n_tokens : begin + block;
    const uint8_t* tile = tiles;
    for (size_t row = row_begin; row < row_end; row += kRowTile, tile += tile_bytes) {
      const size_t n_rows = row_end - row < kRowTile ? row_end - row : kRowTile;
      // Nine tokens are five and four: a tile of one would cost nearly as much as one of four.
      const size_t passes = (end - begin + kTokenTile - 1) / kTokenTile;
      for (size_t t = begin, pass = 0; pass < passes; ++pass) {
        const size_t left = passes - pass, n = (end - t + left - 1) / left;
        TileOfTokens<Kernel>(n, tile, tile_bytes, stream, shape, x + t, y + t, row, n_rows, {pass, passes});
        t += n;
      }
    }
  }
}

}  // namespace
}  // namespace onecopy::kernels::avx512
