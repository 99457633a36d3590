// Reads every input once and writes the output once: 128 bytes of each rank at a time, summed in registers.
// Base instruction set only. The reads come from the caches of other cores, and that, not the adding, sets
// the pace.
#include "runtime/comm/rank_order_sum.h"

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
void Sum(void* out, std::span<const T* const> in, size_t n) {
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
    const T* x = in[0] + i;
    Vector s0 = load(x), s1 = load(x + kLanes), s2 = load(x + 2 * kLanes), s3 = load(x + 3 * kLanes);
    Vector s4 = load(x + 4 * kLanes), s5 = load(x + 5 * kLanes), s6 = load(x + 6 * kLanes),
           s7 = load(x + 7 * kLanes);
    for (size_t r = 1; r < in.size(); ++r) {
      x = in[r] + i;
      s0 += load(x), s1 += load(x + kLanes), s2 += load(x + 2 * kLanes), s3 += load(x + 3 * kLanes);
      s4 += load(x + 4 * kLanes), s5 += load(x + 5 * kLanes), s6 += load(x + 6 * kLanes),
          s7 += load(x + 7 * kLanes);
    }
    const size_t at = i * sizeof(T);
    store(at, s0), store(at + 16, s1), store(at + 32, s2), store(at + 48, s3);
    store(at + 64, s4), store(at + 80, s5), store(at + 96, s6), store(at + 112, s7);
  }
  for (; i < n; ++i) {
    T sum = in[0][i];
    for (size_t r = 1; r < in.size(); ++r) sum += in[r][i];
    memcpy(to + i * sizeof(T), &sum, sizeof(sum));
  }
}

}  // namespace

void SumInRankOrder(void* out, std::span<const float* const> in, size_t n) {
  Sum(out, in, n);
}
void SumInRankOrder(void* out, std::span<const double* const> in, size_t n) {
  Sum(out, in, n);
}

}  // namespace onecopy::comm
