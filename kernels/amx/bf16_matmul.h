// The loops that the bf16 matmuls of this folder share. Weights of two row tiles (32 rows) are decoded to bf16, a block
// of some units of columns at a time, into a panel that serves all tokens; tdpbf16ps multiplies it with the rows of
// activations, in accumulators of float. A type gives `Kernel`, with
//   kBlockUnits   units per source block, or 0 where blocks have no header and a tile is one run of units
//   kHeaderBytes  kUnitBytes  of a tile, for its 16 rows
//   Decode(header, p, out)  the unit at p to bf16 (decode.h)
// While a block is multiplied, the next one is decoded into the other half of the panel, unit by unit between the tile
// instructions: they take different parts of the core.
//
// n tokens are tiles of `tile_tokens` <= 16 tokens; the last tile ends with the last token, and so may share tokens with the
// one before it, which gets the same bits twice. So one tile configuration serves a call, and no row is padded.
// A (row, token) pair is summed over the columns in one order whatever stands beside it.
#pragma once

#include "kernels/amx/decode.h"
#include "kernels/amx/tiles.h"
#include "kernels/kernels.h"

namespace onecopy::kernels::amx {
namespace {

// Units of a block. Eight are a tenth quicker for 256 tokens, and as much slower for 32, where 32 KiB of panels crowd the
// first-level cache.
constexpr size_t kBlockMax = 4;
constexpr size_t kTileTokens = 16;  // most tokens of a tile
constexpr size_t kTokenTiles = 16;  // most tiles of tokens that share a decoded panel
constexpr size_t kTileBytes = 1024;
// Tile registers.
enum : int { kC00, kC01, kC10, kC11, kA0, kA1, kB0, kB1 };

// Rows of activations of one tile of tokens, a fixed distance apart.
struct TokenRows {
  const uint8_t* first;
  size_t stride;
  bool regular;  // else they are copied before use
};

inline TokenRows FindRows(const void* const* x, size_t n) {
  TokenRows rows = {static_cast<const uint8_t*>(x[0]), 0, true};
  if (n == 1) return rows;
  const auto distance = [&](size_t t) {
    return static_cast<size_t>(static_cast<const uint8_t*>(x[t]) - static_cast<const uint8_t*>(x[t - 1]));
  };
  rows.stride = distance(1);
  for (size_t t = 2; t < n; ++t) rows.regular &= distance(t) == rows.stride;
  return rows;
}

// Up to kBlockMax units of two row tiles, inside one source block.
struct Block {
  const uint8_t* header[2];
  const uint8_t* units[2];
  size_t row, first_unit, n_units;
  bool last;  // of these rows
};

// Goes over the blocks of rows [row_begin, row_end), columns inside rows.
template <class Kernel>
class Blocks {
 public:
  Blocks(const PackedMatrix& w, size_t row_begin, size_t row_end)
      : tile_bytes_(TileBytes(w)),
        units_(w.cols / 32),
        skipped_(Kernel::kBlockUnits == 0 ? 0 : w.first_col / 32 % kSourceUnits),
        row_(row_begin),
        row_end_(row_end) {
    StartRows(w.data + row_begin / kRowTile * tile_bytes_);
  }
  // False behind the last.
  bool Next(Block* block) {
    if (row_ >= row_end_) return false;
    size_t n = kBlockMax;
    if (n > kSourceUnits - in_source_) n = kSourceUnits - in_source_;
    if (n > units_ - unit_) n = units_ - unit_;
    *block = {{header_[0], header_[1]}, {}, row_, unit_, n, unit_ + n == units_};
    for (size_t tile = 0; tile < 2; ++tile) block->units[tile] = p_[tile];
    unit_ += n;
    in_source_ += n;
    for (auto& p : p_) p += n * Kernel::kUnitBytes;
    if (block->last) {
      row_ += 2 * kRowTile;
      StartRows(tile_ + 2 * tile_bytes_);
    } else if (in_source_ == kSourceUnits) {
      StartSource(0);
    }
    return true;
  }

 private:
  // Types without headers are cut anywhere.
  static constexpr size_t kSourceUnits = Kernel::kBlockUnits == 0 ? kBlockMax : Kernel::kBlockUnits;

  void StartRows(const uint8_t* tile) {
    tile_ = tile;
    unit_ = 0;
    p_[0] = tile;
    // An odd last tile is multiplied twice, and the second product dropped.
    p_[1] = row_ + kRowTile < row_end_ ? tile + tile_bytes_ : tile;
    StartSource(skipped_);
  }
  void StartSource(size_t skipped) {
    in_source_ = skipped;
    for (size_t tile = 0; tile < 2; ++tile) {
      header_[tile] = p_[tile];
      p_[tile] += Kernel::kHeaderBytes;
    }
  }

  const size_t tile_bytes_, units_, skipped_;
  size_t row_, row_end_, unit_ = 0, in_source_ = 0;
  const uint8_t* tile_ = nullptr;
  const uint8_t* header_[2];
  const uint8_t* p_[2];
};

// One block in bf16: [unit][row tile].
struct Panel {
  alignas(64) uint8_t lines[kBlockMax][2][kTileBytes];
};

// Decodes a block piece by piece.
template <class Kernel>
class PanelDecoder {
 public:
  void Start(const Block& block, Panel* panel) {
    block_ = block;
    panel_ = panel;
    unit_ = 0;
  }
  void DecodeUnit() {
    for (size_t tile = 0; tile < 2; ++tile) {
      const uint8_t* p = block_.units[tile] + unit_ * Kernel::kUnitBytes;
      constexpr size_t kPrefetchBytes = 2048;
      for (size_t i = 0; i < Kernel::kUnitBytes; i += 64) __builtin_prefetch(p + kPrefetchBytes + i);
      Kernel::Decode(block_.header[tile], p, panel_->lines[unit_][tile]);
    }
    ++unit_;
  }
  // What is due now if the block is to be ready in `steps_left` steps.
  void DecodeShare(size_t steps_left) {
    for (size_t n = (block_.n_units - unit_ + steps_left - 1) / steps_left; n > 0; --n) DecodeUnit();
  }
  void Finish() {
    while (unit_ < block_.n_units) DecodeUnit();
  }

 private:
  Block block_ = {};
  Panel* panel_ = nullptr;
  size_t unit_ = 0;
};

inline __mmask16 RowMask(size_t n) {
  return static_cast<__mmask16>(n < 16 ? (1u << n) - 1 : 0xffffu);
}

// Results of all tokens for two row tiles, in float: the accumulators of tdpbf16ps, between blocks of columns.
class FloatSums {
 public:
  explicit FloatSums(size_t) {}

  // Steps of Multiply, a unit each, that `tiles` tiles of tokens take; between them the next block is decoded.
  static size_t Steps(size_t tiles) { return (tiles + 1) / 2; }

  // One block for kTiles tiles of tokens. keep: they are all the tokens, so the accumulators stay where they are until
  // the last block. steps_left: steps in which to have the decoder's block decoded, those of this call the first of them.
  template <int kTiles, class Kernel>
  void Multiply(const Panel& panel, const Block& block, const TokenRows* rows, size_t token_tile, bool keep,
                PanelDecoder<Kernel>* decoder, size_t steps_left) {
    auto* c = c_[token_tile];
    auto* d = c_[token_tile + kTiles - 1];
    if (block.first_unit == 0) {
      ZeroTile<kC00>();
      ZeroTile<kC01>();
      if constexpr (kTiles == 2) {
        ZeroTile<kC10>();
        ZeroTile<kC11>();
      }
    } else if (!keep) {
      LoadTile<kC00>(c[0], kLineBytes);
      LoadTile<kC01>(c[1], kLineBytes);
      if constexpr (kTiles == 2) {
        LoadTile<kC10>(d[0], kLineBytes);
        LoadTile<kC11>(d[1], kLineBytes);
      }
    }
    for (size_t u = 0; u < block.n_units; ++u, --steps_left) {
      decoder->DecodeShare(steps_left);
      LoadTile<kB0>(panel.lines[u][0], kLineBytes);
      LoadTile<kA0>(rows[0].first + u * kLineBytes, rows[0].stride);
      LoadTile<kB1>(panel.lines[u][1], kLineBytes);
      MultiplyBf16<kC00, kA0, kB0>();
      MultiplyBf16<kC01, kA0, kB1>();
      if constexpr (kTiles == 2) {
        LoadTile<kA1>(rows[1].first + u * kLineBytes, rows[1].stride);
        MultiplyBf16<kC10, kA1, kB0>();
        MultiplyBf16<kC11, kA1, kB1>();
      }
    }
    if (block.last || !keep) {
      StoreTile<kC00>(c[0], kLineBytes);
      StoreTile<kC01>(c[1], kLineBytes);
      if constexpr (kTiles == 2) {
        StoreTile<kC10>(d[0], kLineBytes);
        StoreTile<kC11>(d[1], kLineBytes);
      }
    }
  }
  template <class Y>
  void Store(Y* const* y, size_t token_tile, size_t n_tokens, size_t row, size_t row_end) const {
    for (size_t tile = 0; tile < 2 && row < row_end; ++tile, row += kRowTile) {
      for (size_t t = 0; t < n_tokens; ++t)
        StoreRows(y[t] + row, RowMask(row_end - row), c_[token_tile][tile] + 16 * t);
    }
  }

 private:
  static void StoreRows(float* y, __mmask16 rows, const float* c) {
    _mm512_mask_storeu_ps(y, rows, _mm512_load_ps(c));
  }
  static void StoreRows(double* y, __mmask16 rows, const float* c) {
    _mm512_mask_storeu_pd(y, static_cast<__mmask8>(rows), _mm512_cvtps_pd(_mm256_load_ps(c)));
    _mm512_mask_storeu_pd(y + 8, static_cast<__mmask8>(rows >> 8), _mm512_cvtps_pd(_mm256_load_ps(c + 8)));
  }

  alignas(64) float c_[kTokenTiles][2][16 * kTileTokens];
};

// The same in double, of one float term a unit (MatmulSumFn): a unit's term is one tdpbf16ps. Adding the terms costs twice
// what making them does: a conversion to double is two instructions of the core, and each beside a multiplication unit.
class DoubleSums {
 public:
  explicit DoubleSums(size_t tile_tokens) : tile_tokens_(tile_tokens) {}

  static size_t Steps(size_t tiles) { return tiles; }
  template <int kTiles, class Kernel>
  void Multiply(const Panel& panel, const Block& block, const TokenRows* rows, size_t token_tile, bool,
                PanelDecoder<Kernel>* decoder, size_t steps_left) {
    for (int i = 0; i < kTiles; ++i) {
      for (size_t u = 0; u < block.n_units; ++u, --steps_left) {
        decoder->DecodeShare(steps_left);
        LoadTile<kA0>(rows[i].first + u * kLineBytes, rows[i].stride);
        LoadTile<kB0>(panel.lines[u][0], kLineBytes);
        LoadTile<kB1>(panel.lines[u][1], kLineBytes);
        ZeroTile<kC00>();
        ZeroTile<kC01>();
        MultiplyBf16<kC00, kA0, kB0>();
        MultiplyBf16<kC01, kA0, kB1>();
        StoreTile<kC00>(terms_[0][u], kLineBytes);
        StoreTile<kC01>(terms_[1][u], kLineBytes);
      }
      AddTerms(block, token_tile + i);
    }
  }
  void Store(double* const* y, size_t token_tile, size_t n_tokens, size_t row, size_t row_end) const {
    for (size_t tile = 0; tile < 2 && row < row_end; ++tile, row += kRowTile) {
      const __mmask16 mask = RowMask(row_end - row);
      for (size_t t = 0; t < n_tokens; ++t) {
        const double* sums = sums_[token_tile][tile] + kRowTile * t;
        _mm512_mask_storeu_pd(y[t] + row, static_cast<__mmask8>(mask), _mm512_load_pd(sums));
        _mm512_mask_storeu_pd(y[t] + row + 8, static_cast<__mmask8>(mask >> 8), _mm512_load_pd(sums + 8));
      }
    }
  }

 private:
  void AddTerms(const Block& block, size_t token_tile) {
    for (size_t tile = 0; tile < 2; ++tile) {
      double* sums = sums_[token_tile][tile];
      for (size_t i = 0; i < kRowTile * tile_tokens_; i += kRowTile) {
        __m512d low = _mm512_setzero_pd(), high = low;
        if (block.first_unit != 0) {
          low = _mm512_load_pd(sums + i);
          high = _mm512_load_pd(sums + i + 8);
        }
        for (size_t u = 0; u < block.n_units; ++u) {
          low = _mm512_add_pd(low, _mm512_cvtps_pd(_mm256_load_ps(terms_[tile][u] + i)));
          high = _mm512_add_pd(high, _mm512_cvtps_pd(_mm256_load_ps(terms_[tile][u] + i + 8)));
        }
        _mm512_store_pd(sums + i, low);
        _mm512_store_pd(sums + i + 8, high);
      }
    }
  }

  const size_t tile_tokens_;
  // [row tile][token][row], and the terms of a block of columns: [row tile][unit][token][row]
  alignas(64) double sums_[kTokenTiles][2][kTileTokens * kRowTile];
  alignas(64) float terms_[2][kBlockMax][kTileTokens * kRowTile];
};

// A block's rows of activations of one tile, copied to a fixed distance where they have none.
struct TokenCopy {
  // An odd number of lines, so that the rows do not fall into the same sets of the cache.
  static constexpr size_t kStride = (kBlockMax + 1) * kLineBytes;
  alignas(64) uint8_t bytes[kTileTokens * kStride];

  TokenRows Of(const Block& block, const TokenRows& rows, const void* const* x, size_t n) {
    const size_t offset = block.first_unit * kLineBytes;
    if (rows.regular) return {rows.first + offset, rows.stride, true};
    for (size_t t = 0; t < n; ++t) {
      const auto* from = static_cast<const uint8_t*>(x[t]) + offset;
      for (size_t u = 0; u < block.n_units; ++u)
        _mm512_store_si512(bytes + t * kStride + u * kLineBytes, _mm512_loadu_si512(from + u * kLineBytes));
    }
    return {bytes, kStride, true};
  }
};

// At most kTokenTiles * kTileTokens tokens, at least one.
template <class Kernel, class Sums, class Y>
void MultiplyTokens(const PackedMatrix& w, const void* const* x, Y* const* y, size_t n_tokens,
                    size_t row_begin, size_t row_end) {
  const size_t tiles = (n_tokens + kTileTokens - 1) / kTileTokens;
  const size_t tile_tokens = (n_tokens + tiles - 1) / tiles;
  size_t start[kTokenTiles];
  TokenRows rows[kTokenTiles];
  for (size_t i = 0; i < tiles; ++i) {
    start[i] = i + 1 < tiles ? i * tile_tokens : n_tokens - tile_tokens;
    rows[i] = FindRows(x + start[i], tile_tokens);
  }
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    config.rows[tile] = static_cast<uint8_t>(tile < kB0 ? tile_tokens : kRowTile);
    config.row_bytes[tile] = kLineBytes;
  }
  LoadConfig(config);

  Panel panels[2];
  TokenCopy copies[2];
  Sums sums(tile_tokens);
  Blocks<Kernel> blocks(w, row_begin, row_end);
  PanelDecoder<Kernel> decoder;
  Block block;
  bool more = blocks.Next(&block);
  if (more) {
    decoder.Start(block, &panels[0]);
    decoder.Finish();
  }
  for (size_t i = 0; more; ++i) {
    Block next;
    more = blocks.Next(&next);
    if (more) decoder.Start(next, &panels[(i + 1) % 2]);
    for (size_t t = 0; t < tiles; t += 2) {
      const size_t n = tiles - t < 2 ? 1 : 2;
      TokenRows at[2];
      for (size_t j = 0; j < n; ++j) at[j] = copies[j].Of(block, rows[t + j], x + start[t + j], tile_tokens);
      const size_t steps = sums.Steps(tiles - t) * block.n_units;
      if (n == 2)
        sums.template Multiply<2>(panels[i % 2], block, at, t, tiles <= 2, &decoder, steps);
      else
        sums.template Multiply<1>(panels[i % 2], block, at, t, tiles <= 2, &decoder, steps);
    }
    decoder.Finish();
    for (size_t t = 0; block.last && t < tiles; ++t)
      sums.Store(y + start[t], t, tile_tokens, block.row, row_end);
    block = next;
  }
  ReleaseTiles();
}

// Sums: FloatSums, or DoubleSums for Y double.
template <class Kernel, class Sums, class Y>
void MatmulBf16(const PackedMatrix& w, const void* const* x, Y* const* y, size_t n_tokens, uint32_t row_begin,
                uint32_t row_end) {
  constexpr size_t kMost = kTokenTiles * kTileTokens;
  for (size_t begin = 0, parts = (n_tokens + kMost - 1) / kMost; parts > 0; --parts) {
    const size_t n = (n_tokens - begin + parts - 1) / parts;
    MultiplyTokens<Kernel, Sums>(w, x + begin, y + begin, n, row_begin, row_end);
    begin += n;
  }
}

template <class Kernel>
constexpr MatmulKernel MakeMatmulBf16() {
  return {ActFormat::kBF16, MatmulBf16<Kernel, FloatSums, float>, MatmulBf16<Kernel, DoubleSums, double>,
          MatmulBf16<Kernel, FloatSums, double>};
}

}  // namespace
}  // namespace onecopy::kernels::amx
