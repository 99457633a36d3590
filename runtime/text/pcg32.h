// Pcg32: a small random number generator whose numbers are the same on every machine, unlike those of std::
// distributions. Not thread-safe. Source: O'Neill 2014, PCG-XSH-RR 64/32; seeds mixed by SplitMix64 (Steele
// et al. 2014).
#pragma once

#include <cstdint>

namespace onecopy::text {

class Pcg32 {
 public:
  // As pcg32_srandom_r(state, sequence) of the reference.
  Pcg32(uint64_t state, uint64_t sequence) : increment_(sequence << 1 | 1) {
    Next();
    state_ += state;
    Next();
  }
  // Neighbouring seeds give unrelated streams.
  static Pcg32 FromSeed(uint64_t seed) {
    const uint64_t state = SplitMix(&seed);
    return Pcg32(state, SplitMix(&seed));
  }

  uint32_t Next() {
    const uint64_t old = state_;
    state_ = old * 6364136223846793005ull + increment_;
    const auto shifted = static_cast<uint32_t>(((old >> 18) ^ old) >> 27);
    const auto rotation = static_cast<uint32_t>(old >> 59);
    return shifted >> rotation | shifted << (-rotation & 31);
  }
  // Uniform in [0, 1), all multiples of 2^-53.
  double NextDouble() {
    const uint64_t high = Next() >> 5;
    const uint64_t low = Next() >> 6;
    return static_cast<double>(high << 26 | low) * 0x1p-53;
  }

 private:
  static uint64_t SplitMix(uint64_t* state) {
    uint64_t z = *state += 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
  }

  uint64_t state_ = 0;
  uint64_t increment_;
};

}  // namespace onecopy::text
