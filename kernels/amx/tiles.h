// The tile registers (Intel SDM volume 1, chapter 18): configuration, and the four instructions that the matmuls of
// this folder use. Own inline assembly: g++ 12 miscompiles _tile_loadconfig (GCC bug 114098), and its _tile_loadd does
// not tell the compiler that it reads memory.
#pragma once

#include <cstddef>
#include <cstdint>

namespace onecopy::kernels::amx {
namespace {

// The operand of ldtilecfg.
struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

inline void LoadConfig(const TileConfig& config) {
  asm volatile("ldtilecfg %0" : : "m"(config));
}
// Back to the initial state, which a context switch need not save.
inline void ReleaseTiles() {
  asm volatile("tilerelease");
}

template <int kTile>
inline void ZeroTile() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTile));
}
// Rows `stride` bytes apart.
template <int kTile>
inline void LoadTile(const void* p, size_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(p), "r"(stride), "i"(kTile) : "memory");
}
template <int kTile>
inline void StoreTile(void* p, size_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(p), "r"(stride), "i"(kTile) : "memory");
}
// c[m][n] += sum over k of a[m][k] * b[k / 2][n][k % 2]: a 32 bf16 a row, b 16 pairs of bf16 a row, c float.
template <int kC, int kA, int kB>
inline void MultiplyBf16() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kC), "i"(kA), "i"(kB));
}

}  // namespace
}  // namespace onecopy::kernels::amx
