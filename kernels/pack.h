// The packed layout: how a shard of a weight matrix lies in memory. Lossless, at most 5 % larger than the
// file's blocks (plus the headers that a cut through a super-block copies to both sides); TQ1_0 7.4 %, since 32 ternary
// digits, 50.7 bits, take seven bytes of their own where a unit may be cut off.
//
// Float types (F32, F16, BF16): row after row, as in the file.
// Quantised types: rows are taken `row_tile` (R) at a time; a tile holds, for each source block that the
// shard touches ("segment"), its header for R rows, then its 32-column units. So a kernel streams a tile from
// front to back with R rows in the lanes of a vector, and no horizontal sum in its inner loop.
//
//   tile    = segment*      R rows, the last tile padded with zero rows
//   segment = header unit+  one per source block; first and last may be partial (cut at 32 columns)
//   header  = Q4_K Q5_K Q2_K: d f16[R], dmin f16[R] · Q6_K Q3_K IQ4_XS Q1_0: d f16[R] · F8_E4M3: scale f32[R]
//             · INT4_32 _64 _128: u16[R], u8[R], the first two and the third byte of types/int4.h's header
//             · types of 32-column blocks: none
//   unit    = scales quants, for 32 columns of R rows
//   scales  = Q4_0 Q5_0 Q8_0 IQ4_NL: d f16[R] · Q4_1 Q5_1: d f16[R], m f16[R] · Q4_K Q5_K: sc u8[R], m u8[R] (6-bit
//             values, widened) · Q6_K Q3_K: s0 i8[R] (columns 0-15), s1 i8[R] (columns 16-31) · Q2_K: u8[R], u8[R] likewise,
//             a scale in the low and a minimum in the high nibble · IQ4_XS: s i8[R] · MXFP4: e u8[R]
//             · INT4_BF16 INT8_BF16: scale bf16[R] · F8_E4M3 INT4_32 _64 _128 Q1_0: none
//   quants, with q[r][c] the stored unsigned value of row r, column c (Q8_0, INT8_BF16: the signed byte):
//     Q8_0 INT8_BF16
//           8 groups j = 0..7 of R dwords; byte b of dword r is q[r][4j+b]
//     F8_E4M3
//           8 groups j = 0..7 of R dwords; its bytes are the codes of columns 4j, 4j+2, 4j+1, 4j+3, so that those of even
//           and of odd bytes are neighbours
//     Q2_K Q3_K
//           2 groups h = 0,1 of R dwords; bits 2i,2i+1 (i = 0..3) of byte b of dword r are bits 0-1 of
//           q[r][4(4h+i)+b]; then Q3_K: R dwords; bit j of byte b of dword r is bit 2 of q[r][4j+b]
//     Q1_0
//           R dwords; bit j of byte b of dword r is q[r][4j+b]
//     all others
//           4 groups j = 0..3 of R dwords; byte b of dword r holds q[r][4j+b] & 15 in its low and
//           q[r][16+4j+b] & 15 in its high nibble
//     then Q5_0 Q5_1 Q5_K
//           R dwords; bit j (0..7) of byte b of dword r is bit 4 of q[r][4j+b]
//     then Q6_K
//           2 groups h = 0,1 of R dwords; bits 2i,2i+1 (i = 0..3) of byte b of dword r are bits 4-5 of
//           q[r][4(4h+i)+b]
// Value of a weight: Q8_0 d*q · Q4_0 d*(q-8) · Q5_0 d*(q-16) · Q4_1, Q5_1 d*q + m · Q4_K, Q5_K, Q2_K d*sc*q - dmin*m
//   · Q6_K d*s*(q-32) · Q3_K d*s*(q-4) · MXFP4 2^(e-128) * table[q], table: kDoubledE2M1 in types/mxfp4.h
//   · IQ4_NL d*level[q], IQ4_XS d*s*level[q], levels: kLevelsIQ4 in types/iq4.h · F8_E4M3 scale * q, which is never NaN
//   · Q1_0 d*(2q-1) · INT8_BF16 scale * q · INT4_BF16 scale * (q-8) · INT4 scale * (q-zero).
// The types with a UnitFormat (types/units.h: IQ1, IQ2, IQ3, TQ1_0, TQ2_0, NVFP4): header = d f16[R], NVFP4 none; unit = its
// lone bytes, u8[R] each, then its words, each of R rows. What these hold stands in the type's file in types/.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/types.h"

namespace onecopy::kernels {

inline constexpr uint32_t kUnitCols = 32;

// A shard of a weight matrix in packed form; does not own its memory.
struct PackedMatrix {
  const uint8_t* data = nullptr;  // PackedBytes() bytes, 64-byte aligned
  WeightType type = WeightType::kF32;
  uint32_t row_tile = 1;   // R: 1 for float types
  uint32_t rows = 0;       // rows of the shard
  uint32_t cols = 0;       // columns of the shard, and the column of the full matrix at which it begins;
  uint32_t first_col = 0;  // both multiples of 32 for quantised types
  // What the same thread multiplies after this, where it is known: a kernel may ask memory for its beginning. Not owned; lives as
  // long as the product takes.
  const PackedMatrix* next = nullptr;
};

// Bytes of the matrix (data unused).
uint64_t PackedBytes(const PackedMatrix& matrix);
// Bytes of it that exist only since a cut runs through source blocks: headers that another rank holds too. A
// cut's copy is counted on the side right of the cut, so that the sum over all shards counts each extra
// header once.
uint64_t SplitHeaderBytes(const PackedMatrix& matrix);
// Bytes of one row tile.
uint64_t TileBytes(const PackedMatrix& matrix);

// Packs rows [row_begin, row_begin + n_rows) of the shard into out (the start of the whole matrix,
// PackedBytes() bytes). row_begin is a multiple of row_tile, and so is n_rows unless they are the last rows.
// src: the same rows as in the file, `src_row_bytes` apart; each row begins at the source block that holds
// column first_col (for float types: at that very element). Different row ranges may be packed by different
// threads at once.
void PackRows(const PackedMatrix& matrix, uint8_t* out, uint32_t row_begin, uint32_t n_rows,
              const uint8_t* src, uint64_t src_row_bytes);

// The same for columns [col_begin, col_begin + n_cols) of the full matrix only. Of a quantised type, they begin where the
// shard or a source block does, and end likewise (so that they are whole units of 32).
// src: each row begins at the source block that holds col_begin.
void PackPart(const PackedMatrix& matrix, uint8_t* out, uint32_t row_begin, uint32_t n_rows,
              uint32_t col_begin, uint32_t n_cols, const uint8_t* src, uint64_t src_row_bytes);

// Decodes one row of the shard to out[cols]. Bit for bit what the file's blocks decode to.
void UnpackRow(const PackedMatrix& matrix, uint32_t row, float* out);

}  // namespace onecopy::kernels
