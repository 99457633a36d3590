// In assembly: the file is compiled for any x86-64, and a compiler would join or drop sums that nobody reads.
#include "runtime/report/peak_rates.h"

#include <omp.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string_view>

#include "kernels/isa.h"

namespace onecopy::report {
namespace {

#if defined(__x86_64__)

#define TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define SIX(X) X(0) X(1) X(2) X(3) X(4) X(5)
#define XMM_REGISTERS                                                                                        \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", \
      "xmm13", "xmm14", "xmm15"
// `n` passes over BODY. The sums start from whatever the registers hold, but for those that CLEAR sets.
#define LOOP(CLEAR, BODY) \
  asm volatile(CLEAR "1:\n" BODY "dec %0\njnz 1b\nvzeroupper\n" : "+r"(n) : : "cc", XMM_REGISTERS)

// Sums in ymm0-11, operands in ymm14 and ymm15.
#define CLEAR_YMM(i) "vxorps %%ymm" #i ",%%ymm" #i ",%%ymm" #i "\n"
#define F32_YMM(i) "vfmadd231ps %%ymm14,%%ymm15,%%ymm" #i "\n"
// Without VNNI a product of bytes takes three instructions.
#define INT8_YMM(i)                      \
  "vpmaddubsw %%ymm14,%%ymm15,%%ymm12\n" \
  "vpmaddwd %%ymm13,%%ymm12,%%ymm12\n"   \
  "vpaddd %%ymm12,%%ymm" #i ",%%ymm" #i "\n"
// Sums in zmm0-11 too: code without AVX-512 cannot know the upper sixteen.
#define CLEAR_ZMM(i) "vpxorq %%zmm" #i ",%%zmm" #i ",%%zmm" #i "\n"
#define F32_ZMM(i) "vfmadd231ps %%zmm14,%%zmm15,%%zmm" #i "\n"
#define BF16_ZMM(i) "vdpbf16ps %%zmm14,%%zmm15,%%zmm" #i "\n"
#define INT8_ZMM(i) "vpdpbusd %%zmm14,%%zmm15,%%zmm" #i "\n"
// Sums in tiles 0-5: a product takes three times as long as it occupies the unit.
#define INT8_TILE(i) "tdpbssd %%tmm7,%%tmm6,%%tmm" #i "\n"
#define BF16_TILE(i) "tdpbf16ps %%tmm7,%%tmm6,%%tmm" #i "\n"
#define CLEAR_TILE(i) "tilezero %%tmm" #i "\n"
#define CLEAR_YMM_ALL TWELVE(CLEAR_YMM) CLEAR_YMM(12) CLEAR_YMM(13) CLEAR_YMM(14) CLEAR_YMM(15)
#define CLEAR_ZMM_ALL TWELVE(CLEAR_ZMM) CLEAR_ZMM(14) CLEAR_ZMM(15)
#define CLEAR_TILE_ALL SIX(CLEAR_TILE) CLEAR_TILE(6) CLEAR_TILE(7)

void F32Ymm(uint64_t n) {
  LOOP(CLEAR_YMM_ALL, TWELVE(F32_YMM));
}
void Int8Ymm(uint64_t n) {
  LOOP(CLEAR_YMM_ALL, TWELVE(INT8_YMM));
}
void F32Zmm(uint64_t n) {
  LOOP(CLEAR_ZMM_ALL, TWELVE(F32_ZMM));
}
void Bf16Zmm(uint64_t n) {
  LOOP(CLEAR_ZMM_ALL, TWELVE(BF16_ZMM));
}
void Int8Zmm(uint64_t n) {
  LOOP(CLEAR_ZMM_ALL, TWELVE(INT8_ZMM));
}

// Palette 1: eight tiles of 16 rows of 64 bytes (Intel SDM, LDTILECFG).
void ConfigureTiles() {
  alignas(64) uint8_t config[64] = {1};
  for (int tile = 0; tile < 8; ++tile) {
    config[16 + 2 * tile] = 64;
    config[48 + tile] = 16;
  }
  asm volatile("ldtilecfg (%0)" : : "r"(config) : "memory");
}
void Int8Tile(uint64_t n) {
  ConfigureTiles();
  LOOP(CLEAR_TILE_ALL, SIX(INT8_TILE));
  asm volatile("tilerelease");
}
void Bf16Tile(uint64_t n) {
  ConfigureTiles();
  LOOP(CLEAR_TILE_ALL, SIX(BF16_TILE));
  asm volatile("tilerelease");
}

// A process must ask before it uses tiles. Granted again where it has been before.
bool MayUseTiles() {
  constexpr int kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

struct Loop {
  const char* format;
  const char* instruction;
  const char* feature;  // of kernels::IsaFeatures
  void (*run)(uint64_t n);
  double multiply_adds;  // of one pass
};
// Of each format the quickest first.
constexpr Loop kLoops[] = {
    {"int8", "AMX tdpbssd", "AMX-INT8", Int8Tile, 6.0 * 16 * 16 * 64},
    {"int8", "AVX-512 vpdpbusd", "AVX-512VNNI", Int8Zmm, 12.0 * 64},
    {"int8", "AVX2 vpmaddubsw", "AVX2", Int8Ymm, 12.0 * 32},
    {"bf16", "AMX tdpbf16ps", "AMX-BF16", Bf16Tile, 6.0 * 16 * 16 * 32},
    {"bf16", "AVX-512 vdpbf16ps", "AVX-512BF16", Bf16Zmm, 12.0 * 32},
    {"f32", "AVX-512 vfmadd231ps", "AVX-512F", F32Zmm, 12.0 * 16},
    {"f32", "AVX2 vfmadd231ps", "FMA", F32Ymm, 12.0 * 8},
};

// The best of some passes: other programs must not lower a limit.
double Measure(const Loop& loop, int threads) {
  using Clock = std::chrono::steady_clock;
  constexpr int kPasses = 8;
  constexpr double kPassSeconds = 0.003;
  const auto seconds = [&loop](uint64_t n) {
    const auto start = Clock::now();
    loop.run(n);
    return std::chrono::duration<double>(Clock::now() - start).count();
  };
  uint64_t n = 1000;
  while (seconds(n) < kPassSeconds) n *= 2;
  double rate = 0;
#pragma omp parallel num_threads(threads) reduction(+ : rate)
  {
    double best = 0;
    for (int pass = 0; pass < kPasses; ++pass) {
#pragma omp barrier
      best = std::max(best, static_cast<double>(n) * loop.multiply_adds / seconds(n));
    }
    rate += best;
  }
  return rate;
}

#endif

}  // namespace

std::vector<PeakRate> MeasurePeakRates(int threads) {
  std::vector<PeakRate> rates;
#if defined(__x86_64__)
  const auto has = [features = kernels::IsaFeatures()](std::string_view name) {
    return std::any_of(features.begin(), features.end(),
                       [&](const auto& feature) { return feature.present && feature.name == name; });
  };
  for (const Loop& loop : kLoops) {
    const bool tiles = std::string_view(loop.feature).starts_with("AMX");
    if (!has(loop.feature) || (tiles && !MayUseTiles())) continue;
    rates.push_back({loop.format, loop.instruction, Measure(loop, threads)});
  }
#else
  (void)threads;
#endif
  return rates;
}

}  // namespace onecopy::report
