// TQ1_0: 256 columns in 54 bytes. Bytes of five ternary digits: byte b of the first 32 has columns b, 32 + b ... 128 + b, byte
// b of the next 16 columns 160 + b, 176 + b ... 224 + b; then 4 bytes of four digits, of which byte b has columns 240 + b,
// 244 + b ... 252 + b; then d f16. A byte is the fraction 0.d0 d1 d2 ... in base 3, times 256, rounded up. Value d * (digit - 1).
#include <algorithm>

#include "kernels/types/half.h"
#include "kernels/types/units.h"

namespace onecopy::kernels {
namespace {

// Digit n: the integer part of three times the fraction that is left after n digits.
uint32_t Digit(uint8_t byte, size_t n) {
  constexpr uint8_t kPowers[] = {1, 3, 9, 27, 81};
  return static_cast<uint8_t>(byte * kPowers[n]) * 3u >> 8;
}

uint32_t DigitOfColumn(const uint8_t* block, size_t col) {
  if (col < 160) return Digit(block[col % 32], col / 32);
  if (col < 240) return Digit(block[32 + col % 16], (col - 160) / 16);
  return Digit(block[48 + col % 4], (col - 240) / 4);
}

void TakeHeader(const uint8_t* block, uint8_t* header) {
  TakeFirstHalf(block + 52, header);
}
// Five neighbours a byte, the first the lowest digit: the file's bytes have columns of several units.
void TakeUnit(const uint8_t* block, size_t unit, uint8_t* out) {
  for (size_t first = 0; first < 32; first += 5) {
    uint32_t byte = 0;
    for (size_t c = std::min<size_t>(first + 5, 32); c-- > first;)
      byte = 3 * byte + DigitOfColumn(block, 32 * unit + c);
    out[first / 5] = static_cast<uint8_t>(byte);
  }
}
void Decode(const uint8_t* header, const uint8_t* unit, float* out) {
  const float d = LoadF16(header);
  uint32_t byte = 0;
  for (size_t c = 0; c < 32; ++c, byte /= 3) {
    if (c % 5 == 0) byte = unit[c / 5];
    out[c] = (static_cast<float>(byte % 3) - 1) * d;
  }
}

}  // namespace

const UnitFormat kUnitsTQ1_0 = {54, 8, 2, 7, TakeHeader, TakeUnit, Decode};

}  // namespace onecopy::kernels
