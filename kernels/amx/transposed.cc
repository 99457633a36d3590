// Products with a matrix that lies transposed (kernels.h, TransposedKernel) with tile products of bf16, rounded as the weights
// of bf16_matmul.h are. Two neighbouring rows of it are the pairs that a tile wants.
//   panels: [columns / 16][depth / 32] tiles of [16 pairs of rows][16 columns][2], zero behind the last row and column;
//           an even number of column tiles
#include "kernels/amx/amx.h"
#include "kernels/amx/tiles.h"
#include "kernels/avx512/vec.h"

namespace onecopy::kernels::amx {
namespace {

using avx512::TailMask;

constexpr size_t kTileCols = 16;
constexpr size_t kTileTokens = 16;
constexpr size_t kStep = 32;  // of the depth
constexpr size_t kLine = 64;
constexpr size_t kTileBytes = 16 * kLine;
enum : int { kC00, kC01, kC10, kC11, kA0, kA1, kB0, kB1 };

inline size_t Steps(size_t depth) {
  return (depth + kStep - 1) / kStep;
}

size_t PanelBytes(size_t depth, size_t cols) {
  return (cols + 2 * kTileCols - 1) / (2 * kTileCols) * 2 * Steps(depth) * kTileBytes;
}

void Pack(const float* w, size_t depth, size_t cols, void* panels) {
  // Of two registers of bf16, one behind the other: their elements in turn.
  alignas(64) uint16_t turns[32];
  for (size_t i = 0; i < 16; ++i) {
    turns[2 * i] = static_cast<uint16_t>(i);
    turns[2 * i + 1] = static_cast<uint16_t>(16 + i);
  }
  const __m512i order = _mm512_load_si512(turns);
  auto* out = static_cast<uint8_t*>(panels);
  const size_t padded = (cols + 2 * kTileCols - 1) / (2 * kTileCols) * 2 * kTileCols;
  for (size_t c = 0; c < padded; c += kTileCols) {
    const auto part = [&](size_t d) {
      const size_t width = d < depth && c < cols ? cols - c : 0;
      return _mm512_maskz_loadu_ps(TailMask(width), width > 0 ? w + d * cols + c : w);
    };
    for (size_t d = 0; d < Steps(depth) * kStep; d += 2, out += kLine) {
      const auto both = reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(part(d + 1), part(d)));
      _mm512_store_si512(out, _mm512_permutexvar_epi16(order, both));
    }
  }
}

// As in bf16_matmul.h: tiles of equally many tokens, the last of which ends with the last token and may share some with
// the one before.
void Multiply(const void* panels, size_t depth, size_t cols, const void* x, size_t x_bytes, size_t n_tokens,
              float* y, size_t y_stride) {
  if (n_tokens == 0) return;
  const size_t tiles = (n_tokens + kTileTokens - 1) / kTileTokens;
  const size_t tile_tokens = (n_tokens + tiles - 1) / tiles, steps = Steps(depth);
  TileConfig config;
  for (int tile = 0; tile < 8; ++tile) {
    config.rows[tile] = static_cast<uint8_t>(tile < kB0 ? tile_tokens : 16);
    config.row_bytes[tile] = kLine;
  }
  LoadConfig(config);
  const auto start = [&](size_t tile) {
    return tile + 1 < tiles ? tile * tile_tokens : n_tokens - tile_tokens;
  };
  for (size_t c = 0; c < cols; c += 2 * kTileCols) {
    const uint8_t* b = static_cast<const uint8_t*>(panels) + c / kTileCols * steps * kTileBytes;
    for (size_t tile = 0; tile < tiles; tile += 2) {
      // An odd last tile is multiplied twice.
      const size_t t0 = start(tile), t1 = start(tile + 1 < tiles ? tile + 1 : tile);
      const uint8_t *a0 = static_cast<const uint8_t*>(x) + t0 * x_bytes,
                    *a1 = static_cast<const uint8_t*>(x) + t1 * x_bytes;
      ZeroTile<kC00>();
      ZeroTile<kC01>();
      ZeroTile<kC10>();
      ZeroTile<kC11>();
      for (size_t s = 0; s < steps; ++s) {
        LoadTile<kA0>(a0 + s * kLine, x_bytes);
        LoadTile<kB0>(b + s * kTileBytes, kLine);
        LoadTile<kB1>(b + (steps + s) * kTileBytes, kLine);
        LoadTile<kA1>(a1 + s * kLine, x_bytes);
        MultiplyBf16<kC00, kA0, kB0>();
        MultiplyBf16<kC01, kA0, kB1>();
        MultiplyBf16<kC10, kA1, kB0>();
        MultiplyBf16<kC11, kA1, kB1>();
      }
      float *y0 = y + t0 * y_stride + c, *y1 = y + t1 * y_stride + c;
      const size_t y_bytes = y_stride * sizeof(float);
      StoreTile<kC00>(y0, y_bytes);
      StoreTile<kC01>(y0 + kTileCols, y_bytes);
      StoreTile<kC10>(y1, y_bytes);
      StoreTile<kC11>(y1 + kTileCols, y_bytes);
    }
  }
  ReleaseTiles();
}

}  // namespace

constinit const TransposedKernel transposed = {ActFormat::kBF16, PanelBytes, Pack, Multiply};

}  // namespace onecopy::kernels::amx
