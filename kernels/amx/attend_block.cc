// Attention of a block of tokens over a cache of f16 or q8_0 (kernels.h, attend_block) with tile products of bf16. A float is taken
// as the sum of two bf16, high and low; high * high + low * high + high * low keeps f16 keys and values exact, and those
// of q8_0, queries and weights to 2^-16, at three products of 1024 operations a cycle: the softmax costs as much.
//
// All is transposed, so that queries are lanes and the softmax needs no sums across them:
//   scores [positions][queries] = keys [positions][dims] * queries [dims][queries]
//   acc    [dims][queries]     += values^T [dims][positions] * weights [positions][queries]
// for two groups of 16 queries (a query is a token and head) at a time.
#include "kernels/amx/amx.h"
#include "kernels/amx/tiles.h"
#include "kernels/avx512/cache_rows.h"
#include "kernels/avx512/softmax.h"
#include "kernels/avx512/transpose.h"
#include "kernels/seen.h"

namespace onecopy::kernels::amx {
namespace {

using avx512::Exp;
using avx512::F16Rows;
using avx512::LoadPart;
using avx512::Q8Rows;
using avx512::TailMask;
using avx512::Transpose16;

constexpr size_t kPage = kKvPagePositions;
constexpr size_t kGroup = 16;         // queries
constexpr size_t kStep = 32;          // of a sum that one tile product makes
constexpr size_t kTile = 16 * kStep;  // bf16 of a tile: 16 lines of 64 bytes
constexpr size_t kLine = 64;
constexpr size_t kBlockPositions = 32;  // two tiles of scores

// Tile registers: two by two sums, and their factors.
enum : int { kC00, kC01, kC10, kC11, kA0, kA1, kB0, kB1 };

inline size_t Steps(size_t n) {
  return (n + kStep - 1) / kStep;
}
inline size_t GroupPairs(const AttendBlock& b) {
  return (b.n_tokens * b.n_heads + 2 * kGroup - 1) / (2 * kGroup);
}

// Tiles of high parts, each followed by that of the low parts.
using Bf16 = uint16_t;

struct Scratch {
  Bf16* keys;     // [kPage / 16][head_dim steps] x [16 positions][32 dims]
  Bf16* values;   // [v_dim / 16][kPage steps] x [16 dims][32 positions]
  Bf16* queries;  // [groups][head_dim steps] x [16 pairs of dims][16 queries][2]
  float* acc;     // [groups][v_dim, padded][16 queries]
  float* max;     // [groups][16]
  float* sums;    // [groups][16]
};

Scratch LayOut(const AttendBlock& b) {
  const size_t steps = Steps(b.head_dim), v_columns = Steps(b.v_dim) * kStep, groups = 2 * GroupPairs(b);
  Scratch s;
  s.keys = static_cast<Bf16*>(b.scratch);
  s.values = s.keys + kPage / 16 * steps * 2 * kTile;
  s.queries = s.values + v_columns / 16 * (kPage / kStep) * 2 * kTile;
  s.acc = reinterpret_cast<float*>(s.queries + groups * steps * 2 * kTile);
  s.max = s.acc + groups * v_columns * kGroup;
  s.sums = s.max + groups * kGroup;
  return s;
}

inline __m512 High(__m512 x) {
  return _mm512_castsi512_ps(
      _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(static_cast<int>(0xffff0000))));
}

// Dwords of the upper halves of `even`, in their lower halves, and of `odd`.
inline __m512i PairHalves(__m512 even, __m512 odd) {
  return _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(_mm512_castps_si512(even), 16),
                                 _mm512_castps_si512(odd));
}

// 32 floats of a row to bf16.
struct Line {
  __m512i high, low;
};
inline Line SplitLine(__m512 first, __m512 second) {
  const __m512 high0 = High(first), high1 = High(second);
  const auto pack = [](__m512 a, __m512 b) { return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(b, a)); };
  return {pack(high0, high1), pack(_mm512_sub_ps(first, high0), _mm512_sub_ps(second, high1))};
}

inline size_t Rest(size_t n, size_t from) {
  return n > from ? n - from : 0;
}

// Positions from `count` on become zero: their memory may hold anything.
template <class Rows>
void ConvertKeys(const void* page, size_t head_dim, size_t count, Bf16* keys) {
  const size_t steps = Steps(head_dim), row_bytes = Rows::Bytes(head_dim);
  for (size_t p = 0; p < kPage; ++p) {
    const uint8_t* row = static_cast<const uint8_t*>(page) + p * row_bytes;
    for (size_t s = 0; s < steps; ++s) {
      const size_t i = s * kStep, width = p < count ? head_dim - i : 0;
      const Line line =
          SplitLine(LoadPart<Rows>(row, i, width), LoadPart<Rows>(row, i + 16, Rest(width, 16)));
      Bf16* tile = keys + (p / 16 * steps + s) * 2 * kTile + p % 16 * kStep;
      _mm512_store_si512(tile, line.high);
      _mm512_store_si512(tile + kTile, line.low);
    }
  }
}

inline void StoreTransposed(__m512* lines, Bf16* tile) {
  Transpose16(lines);
  for (size_t i = 0; i < 16; ++i) _mm512_store_ps(tile + i * kStep, lines[i]);
}

template <class Rows>
void ConvertValues(const void* page, size_t v_dim, size_t v_stride, size_t count, Bf16* values) {
  const auto* v = static_cast<const uint8_t*>(page);
  const size_t row_bytes = Rows::Bytes(v_stride);
  for (size_t d = 0; d < Steps(v_dim) * kStep; d += 16) {
    const size_t width = Rest(v_dim, d);
    for (size_t p = 0; p < kPage; p += kStep) {
      __m512 high[16], low[16];
      for (size_t i = 0; i < 16; ++i) {
        const uint8_t* row = v + (p + 2 * i) * row_bytes;
        const __m512 even = LoadPart<Rows>(row, d, p + 2 * i < count ? width : 0);
        const __m512 odd = LoadPart<Rows>(row + row_bytes, d, p + 2 * i + 1 < count ? width : 0);
        high[i] = _mm512_castsi512_ps(PairHalves(even, odd));
        low[i] =
            _mm512_castsi512_ps(PairHalves(_mm512_sub_ps(even, High(even)), _mm512_sub_ps(odd, High(odd))));
      }
      Bf16* tile = values + (d / 16 * (kPage / kStep) + p / kStep) * 2 * kTile;
      StoreTransposed(high, tile);
      StoreTransposed(low, tile + kTile);
    }
  }
}

// Queries behind the last one are zero.
void ConvertQueries(const AttendBlock& b, Bf16* queries) {
  const size_t rows = b.n_tokens * b.n_heads, steps = Steps(b.head_dim);
  for (size_t g = 0; g < 2 * GroupPairs(b); ++g) {
    for (size_t s = 0; s < steps; ++s) {
      __m512 high[16], low[16];
      for (size_t i = 0; i < kGroup; ++i) {
        const size_t row = g * kGroup + i, width = row < rows ? b.head_dim - s * kStep : 0;
        const float* from =
            row < rows ? b.q + row / b.n_heads * b.q_stride + row % b.n_heads * b.head_dim + s * kStep : b.q;
        const Line line = SplitLine(_mm512_maskz_loadu_ps(TailMask(width), from),
                                    _mm512_maskz_loadu_ps(TailMask(Rest(width, 16)), from + 16));
        high[i] = _mm512_castsi512_ps(line.high);
        low[i] = _mm512_castsi512_ps(line.low);
      }
      Bf16* tile = queries + (g * steps + s) * 2 * kTile;
      StoreTransposed(high, tile);
      StoreTransposed(low, tile + kTile);
    }
  }
}

// The four sums += a0, a1 times b0, b1, which are tiles of high parts with those of the low parts behind.
inline void MultiplyPair(const Bf16* a0, const Bf16* a1, const Bf16* b0, const Bf16* b1) {
  const auto products = [] {
    MultiplyBf16<kC00, kA0, kB0>();
    MultiplyBf16<kC01, kA0, kB1>();
    MultiplyBf16<kC10, kA1, kB0>();
    MultiplyBf16<kC11, kA1, kB1>();
  };
  LoadTile<kA0>(a0 + kTile, kLine);
  LoadTile<kA1>(a1 + kTile, kLine);
  LoadTile<kB0>(b0, kLine);
  LoadTile<kB1>(b1, kLine);
  products();
  LoadTile<kA0>(a0, kLine);
  LoadTile<kA1>(a1, kLine);
  products();
  LoadTile<kB0>(b0 + kTile, kLine);
  LoadTile<kB1>(b1 + kTile, kLine);
  products();
}

// Blocks [begin, end) of a page's positions: those that a pair of groups sees.
struct Blocks {
  size_t begin, end;
};

// scores[group][position][query] for a pair of groups.
void Scores(const Bf16* keys, const Bf16* queries, size_t steps, Blocks blocks,
            float (*scores)[kPage * kGroup]) {
  for (size_t i = blocks.begin; i < blocks.end; ++i) {
    ZeroTile<kC00>();
    ZeroTile<kC01>();
    ZeroTile<kC10>();
    ZeroTile<kC11>();
    const Bf16* a = keys + 2 * i * steps * 2 * kTile;
    for (size_t s = 0; s < steps; ++s)
      MultiplyPair(a + s * 2 * kTile, a + (steps + s) * 2 * kTile, queries + s * 2 * kTile,
                   queries + (steps + s) * 2 * kTile);
    const size_t at = i * kBlockPositions * kGroup;
    StoreTile<kC00>(scores[0] + at, kLine);
    StoreTile<kC01>(scores[1] + at, kLine);
    StoreTile<kC10>(scores[0] + at + 16 * kGroup, kLine);
    StoreTile<kC11>(scores[1] + at + 16 * kGroup, kLine);
  }
}

// One group's scores become weights, in tiles as the second factor; its acc is rescaled. Each query sees positions
// [unseen, seen) of this page, which may be none.
void UpdateSoftmax(const float* scores, __m512i unseen, __m512i seen, Blocks blocks, size_t v_columns,
                   float* max, float* sums, float* acc, Bf16* weights) {
  const size_t begin = blocks.begin * kBlockPositions, end = blocks.end * kBlockPositions;
  const auto mask_of = [unseen, seen](size_t p) {
    const __m512i position = _mm512_set1_epi32(static_cast<int>(p));
    return _mm512_mask_cmple_epi32_mask(_mm512_cmpgt_epi32_mask(seen, position), unseen, position);
  };
  const __m512 before = _mm512_load_ps(max);
  __m512 tops[2] = {before, before};
  for (size_t p = begin; p < end; p += 2) {
    for (size_t j = 0; j < 2; ++j)
      tops[j] =
          _mm512_mask_max_ps(tops[j], mask_of(p + j), tops[j], _mm512_load_ps(scores + (p + j) * kGroup));
  }
  const __m512 top = _mm512_max_ps(tops[0], tops[1]);
  __m512 sum = _mm512_load_ps(sums);
  if (const __mmask16 higher = _mm512_cmp_ps_mask(top, before, _CMP_GT_OQ); higher != 0) {
    // 0 at first, where the old maximum is -infinity; of a query that has not seen any position yet both are.
    const __m512 keep = _mm512_mask_mov_ps(_mm512_set1_ps(1.0f), higher, Exp(_mm512_sub_ps(before, top)));
    for (size_t i = 0; i < v_columns; ++i)
      _mm512_store_ps(acc + i * kGroup, _mm512_mul_ps(_mm512_load_ps(acc + i * kGroup), keep));
    sum = _mm512_mul_ps(sum, keep);
    _mm512_store_ps(max, top);
  }
  const __m512i half = _mm512_set1_epi32(0x8000);  // of the last bit that a low part keeps
  const auto low_of = [half](__m512 x) {
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(_mm512_sub_ps(x, High(x))), half));
  };
  for (size_t p = begin; p < end; p += 2) {
    __m512 w[2];
    for (size_t j = 0; j < 2; ++j) {
      const __m512 shifted = _mm512_sub_ps(_mm512_load_ps(scores + (p + j) * kGroup), top);
      w[j] = _mm512_maskz_mov_ps(mask_of(p + j), Exp(shifted));
    }
    sum = _mm512_add_ps(sum, _mm512_add_ps(w[0], w[1]));
    Bf16* line = weights + p / kStep * 2 * kTile + p % kStep / 2 * kStep;
    _mm512_store_si512(line, PairHalves(w[0], w[1]));
    _mm512_store_si512(line + kTile, PairHalves(low_of(w[0]), low_of(w[1])));
  }
  _mm512_store_ps(sums, sum);
}

// acc[group][dim][query] += values^T * weights for a pair of groups.
void AddValues(const Bf16* values, const Bf16* weights, Blocks blocks, size_t v_columns, float* acc0,
               float* acc1) {
  constexpr size_t kPageTiles = kPage / kStep * 2 * kTile;
  for (size_t d = 0; d < v_columns; d += size_t{2} * 16) {
    float *c0 = acc0 + d * kGroup, *c1 = acc1 + d * kGroup;
    LoadTile<kC00>(c0, kLine);
    LoadTile<kC01>(c1, kLine);
    LoadTile<kC10>(c0 + 16 * kGroup, kLine);
    LoadTile<kC11>(c1 + 16 * kGroup, kLine);
    const Bf16* a = values + d / 16 * kPageTiles;
    for (size_t s = blocks.begin; s < blocks.end; ++s)
      MultiplyPair(a + s * 2 * kTile, a + kPageTiles + s * 2 * kTile, weights + s * 2 * kTile,
                   weights + kPageTiles + s * 2 * kTile);
    StoreTile<kC00>(c0, kLine);
    StoreTile<kC01>(c1, kLine);
    StoreTile<kC10>(c0 + 16 * kGroup, kLine);
    StoreTile<kC11>(c1 + 16 * kGroup, kLine);
  }
}

// Groups 2 * pair and 2 * pair + 1 over a page of `first` and following positions.
void AddPage(const AttendBlock& b, const Scratch& s, size_t pair, size_t first) {
  const size_t rows = b.n_tokens * b.n_heads, steps = Steps(b.head_dim), v_columns = Steps(b.v_dim) * kStep;
  alignas(64) int32_t unseen[2 * kGroup], seen[2 * kGroup];
  for (size_t i = 0; i < 2 * kGroup; ++i) {
    const size_t row = pair * 2 * kGroup + i, t = (row < rows ? row : rows - 1) / b.n_heads;
    unseen[i] = static_cast<int32_t>(InPage(SeenBegin(b, t), first));
    seen[i] = static_cast<int32_t>(InPage(SeenEnd(b, t), first));
  }
  const auto least = static_cast<size_t>(unseen[0]);  // tokens ascend
  const auto most = static_cast<size_t>(seen[2 * kGroup - 1]);
  if (least >= most) return;
  const Blocks blocks = {least / kBlockPositions, (most + kBlockPositions - 1) / kBlockPositions};
  alignas(64) float scores[2][kPage * kGroup];
  alignas(64) Bf16 weights[2 * (kPage / kStep) * 2 * kTile];
  const size_t group = 2 * pair;
  Scores(s.keys, s.queries + group * steps * 2 * kTile, steps, blocks, scores);
  float* acc = s.acc + group * v_columns * kGroup;
  for (size_t g = 0; g < 2; ++g)
    UpdateSoftmax(scores[g], _mm512_load_si512(unseen + g * kGroup), _mm512_load_si512(seen + g * kGroup),
                  blocks, v_columns, s.max + (group + g) * kGroup, s.sums + (group + g) * kGroup,
                  acc + g * v_columns * kGroup, weights + g * (kPage / kStep) * 2 * kTile);
  AddValues(s.values, weights, blocks, v_columns, acc, acc + v_columns * kGroup);
}

void StoreOutput(const AttendBlock& b, const Scratch& s) {
  const size_t rows = b.n_tokens * b.n_heads, v_columns = Steps(b.v_dim) * kStep;
  for (size_t g = 0; g * kGroup < rows; ++g) {
    const __m512 sum = _mm512_load_ps(s.sums + g * kGroup);
    for (size_t d = 0; d < b.v_dim; d += 16) {
      __m512 lines[16];
      for (size_t i = 0; i < 16; ++i)
        lines[i] = _mm512_div_ps(_mm512_load_ps(s.acc + (g * v_columns + d + i) * kGroup), sum);
      Transpose16(lines);
      for (size_t i = 0; i < kGroup && g * kGroup + i < rows; ++i) {
        const size_t row = g * kGroup + i;
        float* to = b.out + row / b.n_heads * b.out_stride + row % b.n_heads * b.v_dim + d;
        _mm512_mask_storeu_ps(to, TailMask(b.v_dim - d), lines[i]);
      }
    }
  }
  if (b.states == nullptr) return;
  for (size_t row = 0; row < rows; ++row) b.states[row] = {s.max[row], s.sums[row]};
}

template <class Rows>
void AttendPages(const AttendBlock& b) {
  const Scratch s = LayOut(b);
  const size_t groups = 2 * GroupPairs(b), v_columns = Steps(b.v_dim) * kStep;
  for (size_t i = 0; i < groups * v_columns * kGroup; ++i) s.acc[i] = 0.0f;
  for (size_t i = 0; i < groups * kGroup; ++i) {
    s.max[i] = -INFINITY;
    s.sums[i] = 0.0f;
  }
  ConvertQueries(b, s.queries);
  TileConfig config;
  for (size_t i = 0; i < 8; ++i) {
    config.rows[i] = 16;
    config.row_bytes[i] = kLine;
  }
  LoadConfig(config);
  const size_t end = SeenEnd(b, b.n_tokens - 1);
  for (size_t first = SeenBegin(b, 0) / kPage * kPage; first < end; first += kPage) {
    const size_t count = end - first < kPage ? end - first : kPage;
    ConvertKeys<Rows>(b.k_pages[first / kPage], b.head_dim, count, s.keys);
    ConvertValues<Rows>(b.v_pages[first / kPage], b.v_dim, b.v_stride, count, s.values);
    for (size_t pair = 0; pair < groups / 2; ++pair) AddPage(b, s, pair, first);
  }
  ReleaseTiles();
  StoreOutput(b, s);
}

}  // namespace

void attend_block_f16(const AttendBlock& b) {
  AttendPages<F16Rows>(b);
}
void attend_block_q8_0(const AttendBlock& b) {
  AttendPages<Q8Rows>(b);
}

size_t attend_block_bytes(const AttendBlock& b) {
  const size_t steps = Steps(b.head_dim), v_columns = Steps(b.v_dim) * kStep, groups = 2 * GroupPairs(b);
  const size_t bf16 = (kPage / 16 * steps + v_columns / 16 * (kPage / kStep) + groups * steps) * 2 * kTile;
  return bf16 * sizeof(Bf16) + groups * kGroup * (v_columns + 2) * sizeof(float);
}

}  // namespace onecopy::kernels::amx
