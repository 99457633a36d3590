// Reads every input once and writes the output once: 128 bytes of each rank at a time, summed in registers.
// Base instruction set only. The reads come from the caches of other cores, and that, not the adding, sets
// the pace.
#include "runtime/comm/rank_order_sum.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace onecopy::comm {
namespace {

template <typename T>
struct VectorOf;
template <>
struct VectorOf<float> {
  typedef float Type __attribute__((vector_size(16)));
};
template <>
struct VectorOf<double> {
  typedef double Type __attribute__((vector_size(16)));
};

template <typename T>
void Sum(void* out, std::span<const T* const> in, size_t first, size_t n) {
  using Vector = typename VectorOf<T>::Type;
  constexpr size_t kLanes = 16 / sizeof(T), kBlock = 8 * kLanes;
  const auto load = [](const T* from) {
    Vector value;
    memcpy(&value, from, sizeof(value));
    return value;
  };
  auto* to = static_cast<unsigned char*>(out);
  const auto store = [&](size_t at, Vector value) { memcpy(to + at, &value, sizeof(value)); };
  size_t i = 0;
  // Named sums rather than an array: g++ 12 keeps an array on the stack and stores it for every rank.
  for (; i + kBlock <= n; i += kBlock) {
    const T* x = in[0] + first + i;
    Vector s0 = load(x), s1 = load(x + kLanes), s2 = load(x + 2 * kLanes), s3 = load(x + 3 * kLanes);
    Vector s4 = load(x + 4 * kLanes), s5 = load(x + 5 * kLanes), s6 = load(x + 6 * kLanes),
           s7 = load(x + 7 * kLanes);
    for (size_t r = 1; r < in.size(); ++r) {
      x = in[r] + first + i;
      s0 += load(x), s1 += load(x + kLanes), s2 += load(x + 2 * kLanes), s3 += load(x + 3 * kLanes);
      s4 += load(x + 4 * kLanes), s5 += load(x + 5 * kLanes), s6 += load(x + 6 * kLanes),
          s7 += load(x + 7 * kLanes);
    }
    const size_t at = i * sizeof(T);
    store(at, s0), store(at + 16, s1), store(at + 32, s2), store(at + 48, s3);
    store(at + 64, s4), store(at + 80, s5), store(at + 96, s6), store(at + 112, s7);
  }
  for (; i < n; ++i) {
    T sum = in[0][first + i];
    for (size_t r = 1; r < in.size(); ++r) sum += in[r][first + i];
    memcpy(to + i * sizeof(T), &sum, sizeof(sum));
  }
}

double Widen(uint16_t bf16) {
  return static_cast<double>(std::bit_cast<float>(uint32_t{bf16} << 16));
}

}  // namespace

void SumInRankOrder(void* out, std::span<const float* const> in, size_t first, size_t n) {
  Sum(out, in, first, n);
}
void SumInRankOrder(void* out, std::span<const double* const> in, size_t first, size_t n) {
  Sum(out, in, first, n);
}

void SumInRankOrder(float* out, std::span<const uint16_t* const> in, size_t first, size_t n) {
  constexpr size_t kBlock = 64;  // of sums that stay in the cache while the ranks are gone through
  double sums[kBlock];
  for (size_t at = 0; at < n; at += kBlock) {
    const size_t m = std::min(kBlock, n - at);
    for (size_t i = 0; i < m; ++i) sums[i] = Widen(in[0][first + at + i]);
    for (size_t r = 1; r < in.size(); ++r) {
      const uint16_t* x = in[r] + first + at;
      for (size_t i = 0; i < m; ++i) sums[i] += Widen(x[i]);
    }
    for (size_t i = 0; i < m; ++i) out[at + i] = static_cast<float>(sums[i]);
  }
}

void RoundToBf16(const double* x, size_t n, uint16_t* out) {
  for (size_t i = 0; i < n; ++i) {
    const auto bits = std::bit_cast<uint32_t>(static_cast<float>(x[i]));
    const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
    // Rounding could carry a NaN's payload into its sign.
    out[i] = static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? bits >> 16 | 0x40 : rounded);
  }
}

}  // namespace onecopy::comm
