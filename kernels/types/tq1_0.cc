// TQ1_0: 256 columns in 54 bytes. Bytes of five ternary digits: byte b of the first 32 has columns b, 32 + b ... 128 + b, byte
// b of the next 16 columns 160 + b, 176 + b ... 224 + b; then 4 bytes of four digits, of which byte b has columns 240 + b,
// 244 + b ... 252 + b; then d f16. A byte is the fraction 0.d0 d1 d2 ... in base 3, times 256, rounded up. Value d * (digit - 1).
// A packed unit: three bytes, of which byte b has columns 20 + b, 24 + b, 28 + b in two bits each, and column 23 + 4b in the highest
// two; then four bytes of five digits, of which byte b has columns b, 4 + b … 16 + b.
#include "kernels/types/half.h"
#include "kernels/types/units.h"

namespace onecopy::kernels {
namespace {

// Digit n: the integer part of three times the fraction that is left after n digits.
uint32_t Digit(uint8_t byte, size_t n) {
  constexpr uint8_t kPowers[] = {1, 3, 9, 27, 81};
  // NOLINTNEXTLINE(clang-analyzer-core.UndefinedBinaryOperatorResult): a block's 256 columns leave n below 5
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
void TakeUnit(const uint8_t* block, size_t unit, uint8_t* out) {
  const auto digit = [&](size_t j, size_t b) { return DigitOfColumn(block, 32 * unit + 4 * j + b); };
  for (size_t b = 0; b < 3; ++b)
    out[b] = static_cast<uint8_t>(digit(5, b) | digit(6, b) << 2 | digit(7, b) << 4 | digit(5 + b, 3) << 6);
  for (size_t b = 0; b < 4; ++b) {
    uint32_t five = 0;
    for (size_t j = 0; j < 5; ++j) five = 3 * five + digit(j, b);
    out[3 + b] = static_cast<uint8_t>((five * 256 + 242) / 243);
  }
}
void Decode(const uint8_t* header, const uint8_t* unit, float* out) {
  const float d = LoadF16(header);
  for (size_t c = 0; c < 32; ++c) {
    const size_t j = c / 4, b = c % 4;
    const uint32_t digit = j < 5   ? Digit(unit[3 + b], j)
                           : b < 3 ? (unit[b] >> (2 * (j - 5))) & 3u
                                   : unit[j - 5] >> 6;
    out[c] = (static_cast<float>(digit) - 1) * d;
  }
}

}  // namespace

const UnitFormat kUnitsTQ1_0 = {54, 8, 2, 7, TakeHeader, TakeUnit, Decode};

}  // namespace onecopy::kernels
