// Q6_K x Q8: weights stay unsigned (0..63), so that products reach 2 * 63 * 127, of which two fit a 16-bit
// sum; the offset of 32 is taken off once per source block, from the sums s0 and s1 of the activations.
#include "kernels/avx2/avx2.h"
#include "kernels/avx2/q8_panel.h"

namespace onecopy::kernels::avx2 {
namespace {

// Puts bits 2i, 2i+1 of every byte of `bits` as bits 4, 5 into w[i]. The mask drops what crosses bytes.
inline void AddBits45(__m256i bits, __m256i* w) {
  const __m256i mask = _mm256_set1_epi8(48);
  w[0] = _mm256_or_si256(w[0], _mm256_and_si256(_mm256_slli_epi32(bits, 4), mask));
  w[1] = _mm256_or_si256(w[1], _mm256_and_si256(_mm256_slli_epi32(bits, 2), mask));
  w[2] = _mm256_or_si256(w[2], _mm256_and_si256(bits, mask));
  w[3] = _mm256_or_si256(w[3], _mm256_and_si256(_mm256_srli_epi32(bits, 2), mask));
}

struct Q6K {
  static constexpr size_t kBlockUnits = 8;
  static constexpr size_t kHeaderBytes = 2 * kRowTile;
  static constexpr size_t kUnitBytes = 26 * kRowTile;
  static constexpr size_t kGroup = 2;

  struct Header {
    __m256 d;
  };
  struct Unit {
    __m256i w[8];
    __m256i scale[2];  // of the first and the last 16 columns, in both words of each row's dword
    __m256 offset[2];  // the same as float
  };
  static Header LoadHeader(const uint8_t* p) { return {LoadScales(p)}; }
  static void LoadUnit(const uint8_t* p, Unit* unit) {
    // i8 scales to the upper byte of both words of their row's dword; shifts right then extend the sign.
    const __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    for (int i = 0; i < 2; ++i) {
      const __m256i scale = _mm256_shuffle_epi8(both, PairIndex(8 * i));
      unit->scale[i] = _mm256_srai_epi16(scale, 8);
      unit->offset[i] = _mm256_cvtepi32_ps(_mm256_srai_epi32(scale, 24));
    }
    DecodeNibbles(p + 2 * kRowTile, unit->w);
    AddBits45(LoadWeights(p + 18 * kRowTile), unit->w);
    AddBits45(LoadWeights(p + 22 * kRowTile), unit->w + 4);
  }
  static __m256i Scale(const Unit& unit, size_t group) { return unit.scale[group / 2]; }
  static void AddProducts(const Unit&, __m256i sum, const TokenScales& x, __m256* products) {
    *products = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum), x.d, *products);
  }
  static void AddOffsets(const Unit& unit, const TokenScales& x, __m256* offsets) {
    *offsets = _mm256_fmadd_ps(unit.offset[0], x.s0, *offsets);
    *offsets = _mm256_fmadd_ps(unit.offset[1], x.s1, *offsets);
  }
  static __m256 Finish(const Header& header, __m256 products, __m256 offsets, __m256 acc) {
    return _mm256_fmadd_ps(header.d, _mm256_fnmadd_ps(_mm256_set1_ps(32.0f), offsets, products), acc);
  }

  template <int T>
  static void Segment(const uint8_t* header, const uint8_t* p, const Q8Row* x, size_t first_unit,
                      size_t n_units, __m256* acc) {
    SegmentOfParts<Q6K, T>(header, p, x, first_unit, n_units, acc);
  }

 private:
  // Byte shuffle that puts byte first + r above a zero byte, twice, into dword r.
  static __m256i PairIndex(int first) {
    const __m256i rows = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i byte = _mm256_add_epi32(rows, _mm256_set1_epi32(first));
    return _mm256_or_si256(_mm256_or_si256(_mm256_slli_epi32(byte, 8), _mm256_slli_epi32(byte, 24)),
                           _mm256_set1_epi32(0x00800080));
  }
};

}  // namespace

void matmul_q6_k(const PackedMatrix& w, const void* const* x, float* const* y, size_t n_tokens,
                 uint32_t row_begin, uint32_t row_end) {
  MatmulParts<Q6K>(w, x, y, n_tokens, row_begin, row_end);
}

void matmul_sum_q6_k(const PackedMatrix& w, const void* const* x, double* const* y, size_t n_tokens,
                     uint32_t row_begin, uint32_t row_end) {
  MatmulParts<Q6K>(w, x, y, n_tokens, row_begin, row_end);
}

}  // namespace onecopy::kernels::avx2
