// Types whose units of nibbles stand alone, without a header, each with a float scale in front.
#pragma once

#include "kernels/avx512/q8_matmul.h"

namespace onecopy::kernels::avx512 {
namespace {

// For NibbleSums: quants that are the weights to multiply with.
struct AsTheyAre {
  __m512i operator()(__m512i w, size_t, bool) const { return w; }
};

// kMoreBytes: of a row's unit, behind the nibbles.
template <size_t kScaleBytes, size_t kMoreBytes>
struct LoneUnits {
  static constexpr size_t kBlockUnits = 0;
  static constexpr size_t kHeaderBytes = 0;
  static constexpr size_t kUnitBytes = (kScaleBytes + 16 + kMoreBytes) * kRowTile;
  static constexpr size_t kPrefetchedBytes = kNibbleBytes;
  using Header = NoHeader;
  static Header LoadHeader(const uint8_t*) { return {}; }
};

// Quants that are kOffset too large, so that none is negative.
template <__m512 (*kLoadScales)(const uint8_t*), int kOffset, size_t kMoreBytes = 0>
struct OffsetUnits : LoneUnits<2, kMoreBytes> {
  static void Prepare(const UnitScales& scales, Q8Row* x) { PrepareStart<kOffset>(scales, x); }

  // Unit, of nibbles that `decode` (NibbleSums) makes weights.
  template <int T, class Decode>
  static void AddNibbles(const uint8_t* p, const Q8Row* x, size_t u, Decode decode, __m512* acc) {
    __m512i sum[T];
    Start<T>(x, u, sum);
    NibbleSums<T>(p + 2 * kRowTile, x, u, decode, sum);
    AddUnit<T>(sum, kLoadScales(p), x, u, acc);
  }
};

// A minimum behind the scale, which meets the sum of the activations.
template <size_t kMoreBytes = 0>
struct MinUnits : LoneUnits<4, kMoreBytes> {
  static void Prepare(const UnitScales& scales, Q8Row* x) { PrepareSums(scales, x); }

  template <int T, class Decode>
  static void AddNibbles(const uint8_t* p, const Q8Row* x, size_t u, Decode decode, __m512* acc) {
    __m512i sum[T];
    Clear<T>(sum);
    NibbleSums<T>(p + 4 * kRowTile, x, u, decode, sum);
    AddMinUnit<T>(sum, LoadF16(p), Negated(LoadF16(p + 2 * kRowTile)), x, u, acc);
  }
};

}  // namespace
}  // namespace onecopy::kernels::avx512
