// The packed layout for all types: sizes, and the loops over tiles, segments and lanes around each type's
// PackFormat. Thread-safe: no state; threads that pack different rows write different bytes.
#include "kernels/pack.h"

#include <algorithm>
#include <cassert>
#include <cstring>

#include "kernels/pack/format.h"

namespace onecopy::kernels {
namespace {

// nullptr for the float types, whose rows stay as they are.
const PackFormat* FormatOf(WeightType type) {
  switch (type) {
    case WeightType::kQ8_0:
      return &kPackQ8_0;
    case WeightType::kQ4_0:
      return &kPackQ4_0;
    case WeightType::kQ4_K:
      return &kPackQ4K;
    case WeightType::kQ5_K:
      return &kPackQ5K;
    case WeightType::kQ6_K:
      return &kPackQ6K;
    case WeightType::kMXFP4:
      return &kPackMXFP4;
    case WeightType::kQ5_0:
      return &kPackQ5_0;
    case WeightType::kQ4_1:
      return &kPackQ4_1;
    case WeightType::kQ5_1:
      return &kPackQ5_1;
    case WeightType::kIQ4_NL:
      return &kPackIQ4NL;
    case WeightType::kIQ4_XS:
      return &kPackIQ4XS;
    case WeightType::kQ3_K:
      return &kPackQ3K;
    case WeightType::kQ2_K:
      return &kPackQ2K;
    case WeightType::kIQ2_XXS:
      return &kPackIQ2XXS;
    case WeightType::kIQ2_XS:
      return &kPackIQ2XS;
    case WeightType::kIQ2_S:
      return &kPackIQ2S;
    case WeightType::kIQ3_XXS:
      return &kPackIQ3XXS;
    case WeightType::kIQ3_S:
      return &kPackIQ3S;
    case WeightType::kIQ1_S:
      return &kPackIQ1S;
    case WeightType::kIQ1_M:
      return &kPackIQ1M;
    case WeightType::kTQ1_0:
      return &kPackTQ1_0;
    case WeightType::kTQ2_0:
      return &kPackTQ2_0;
    case WeightType::kNVFP4:
      return &kPackNVFP4;
    case WeightType::kQ1_0:
      return &kPackQ1_0;
    case WeightType::kF8_E4M3:
      return &kPackF8E4M3;
    case WeightType::kInt8_BF16:
      return &kPackInt8BF16;
    case WeightType::kInt4_BF16:
      return &kPackInt4BF16;
    case WeightType::kInt4_32:
      return &kPackInt4_32;
    case WeightType::kInt4_64:
      return &kPackInt4_64;
    case WeightType::kInt4_128:
      return &kPackInt4_128;
    default:
      return nullptr;
  }
}

// How a shard's columns fall into segments.
struct Cut {
  uint32_t first_unit;  // of the first segment, inside its source block
  uint32_t units;
  uint32_t segment_units;  // of a whole segment
  uint32_t segments;

  Cut(const PackFormat& format, const PackedMatrix& matrix) {
    assert(matrix.cols % kUnitCols == 0 && matrix.first_col % kUnitCols == 0);
    const uint32_t block_units = Info(matrix.type).block_cols / kUnitCols;
    segment_units = format.header_bytes > 0 ? block_units : kSegmentUnits;
    first_unit = matrix.first_col / kUnitCols % block_units;
    units = matrix.cols / kUnitCols;
    segments = units == 0 ? 0 : (first_unit + units + segment_units - 1) / segment_units;
  }
  // Units of the shard before segment s, and in it.
  uint32_t UnitsBefore(uint32_t s) const {
    return s == 0 ? 0 : std::min(units, s * segment_units - first_unit);
  }
  uint32_t UnitsIn(uint32_t s) const { return UnitsBefore(s + 1) - UnitsBefore(s); }
  // The segment that begins at a unit of the shard; the number of segments for its end.
  uint32_t SegmentAt(uint32_t unit) const {
    return unit == units ? segments : (unit + first_unit) / segment_units;
  }
};

uint64_t SegmentOffset(const PackFormat& format, const Cut& cut, uint32_t segment, uint32_t row_tile) {
  return row_tile * (static_cast<uint64_t>(segment) * format.header_bytes +
                     static_cast<uint64_t>(cut.UnitsBefore(segment)) * format.unit_bytes);
}

uint64_t TileCount(const PackedMatrix& matrix) {
  return (static_cast<uint64_t>(matrix.rows) + matrix.row_tile - 1) / matrix.row_tile;
}

void PackFloatPart(const PackedMatrix& matrix, uint8_t* out, uint32_t n_rows, uint32_t col_begin,
                   uint32_t n_cols, const uint8_t* src, uint64_t src_row_bytes) {
  const TypeInfo& info = Info(matrix.type);
  const uint64_t row_bytes = TileBytes(matrix), bytes = RowBytes(info, n_cols);
  out += RowBytes(info, col_begin - matrix.first_col);
  if (src_row_bytes == row_bytes && bytes == row_bytes) {
    std::memcpy(out, src, row_bytes * n_rows);
    return;
  }
  for (uint32_t r = 0; r < n_rows; ++r) std::memcpy(out + r * row_bytes, src + r * src_row_bytes, bytes);
}

}  // namespace

uint64_t TileBytes(const PackedMatrix& matrix) {
  const PackFormat* format = FormatOf(matrix.type);
  if (format == nullptr) {
    assert(matrix.row_tile == 1);
    return RowBytes(Info(matrix.type), matrix.cols);
  }
  const Cut cut(*format, matrix);
  return SegmentOffset(*format, cut, cut.segments, matrix.row_tile);
}

uint64_t PackedBytes(const PackedMatrix& matrix) {
  return TileCount(matrix) * TileBytes(matrix);
}

uint64_t SplitHeaderBytes(const PackedMatrix& matrix) {
  const PackFormat* format = FormatOf(matrix.type);
  if (format == nullptr || matrix.cols == 0 || Cut(*format, matrix).first_unit == 0) return 0;
  return TileCount(matrix) * matrix.row_tile * format->header_bytes;
}

void PackRows(const PackedMatrix& matrix, uint8_t* out, uint32_t row_begin, uint32_t n_rows,
              const uint8_t* src, uint64_t src_row_bytes) {
  PackPart(matrix, out, row_begin, n_rows, matrix.first_col, matrix.cols, src, src_row_bytes);
}

void PackPart(const PackedMatrix& matrix, uint8_t* out, uint32_t row_begin, uint32_t n_rows,
              uint32_t col_begin, uint32_t n_cols, const uint8_t* src, uint64_t src_row_bytes) {
  const PackFormat* format = FormatOf(matrix.type);
  const uint32_t row_tile = matrix.row_tile;
  if (format == nullptr)
    return PackFloatPart(matrix, out + row_begin * TileBytes(matrix), n_rows, col_begin, n_cols, src,
                         src_row_bytes);
  assert(row_begin % row_tile == 0 && row_begin + n_rows <= matrix.rows);
  assert(n_rows % row_tile == 0 || row_begin + n_rows == matrix.rows);
  const uint64_t tile_bytes = TileBytes(matrix);
  out += row_begin / row_tile * tile_bytes;
  PackedMatrix part = matrix;
  if (format->header_bytes == 0) {
    // Unit follows unit: the part lies as a matrix of its own would.
    out += uint64_t{row_tile} * ((col_begin - matrix.first_col) / kUnitCols) * format->unit_bytes;
    part.first_col = col_begin;
    part.cols = n_cols;
  }
  const Cut cut(*format, part);
  const uint32_t first = cut.SegmentAt((col_begin - part.first_col) / kUnitCols);
  const uint32_t end = cut.SegmentAt((col_begin + n_cols - part.first_col) / kUnitCols);
  for (uint32_t row = 0; row < n_rows; row += row_tile, out += tile_bytes) {
    const uint32_t lanes = std::min(row_tile, n_rows - row);
    const uint64_t begin_bytes = SegmentOffset(*format, cut, first, row_tile);
    if (lanes < row_tile)
      std::memset(out + begin_bytes, 0, SegmentOffset(*format, cut, end, row_tile) - begin_bytes);
    // Segments outside, rows inside: the bytes being written stay in the first-level cache.
    for (uint32_t s = first; s < end; ++s) {
      uint8_t* segment = out + SegmentOffset(*format, cut, s, row_tile);
      const uint8_t* block =
          src + row * src_row_bytes + static_cast<uint64_t>(s - first) * format->segment_bytes;
      const uint32_t first_unit = s == 0 ? cut.first_unit : 0;
      uint32_t lane = 0;
      for (; lane + 4 <= lanes; lane += 4, block += 4 * src_row_bytes)
        format->pack4(block, src_row_bytes, first_unit, cut.UnitsIn(s), row_tile, lane, segment);
      for (; lane < lanes; ++lane, block += src_row_bytes)
        format->pack(block, src_row_bytes, first_unit, cut.UnitsIn(s), row_tile, lane, segment);
    }
  }
}

uint32_t SegmentCount(const PackedMatrix& matrix) {
  const PackFormat* format = FormatOf(matrix.type);
  if (format == nullptr) return (matrix.cols + kSegmentCols - 1) / kSegmentCols;
  return Cut(*format, matrix).segments;
}

uint32_t UnpackSegment(const PackedMatrix& matrix, uint32_t row, uint32_t segment, float* out) {
  const uint8_t* tile = matrix.data + row / matrix.row_tile * TileBytes(matrix);
  const PackFormat* format = FormatOf(matrix.type);
  if (format == nullptr) {
    const TypeInfo& info = Info(matrix.type);
    const uint32_t begin = segment * kSegmentCols;
    const uint32_t cols = std::min(kSegmentCols, matrix.cols - begin);
    info.decode(tile + RowBytes(info, begin), out, cols);
    return cols;
  }
  const Cut cut(*format, matrix);
  format->unpack(tile + SegmentOffset(*format, cut, segment, matrix.row_tile), cut.UnitsIn(segment),
                 matrix.row_tile, row % matrix.row_tile, out);
  return cut.UnitsIn(segment) * kUnitCols;
}

void UnpackRow(const PackedMatrix& matrix, uint32_t row, float* out) {
  const uint32_t segments = SegmentCount(matrix);
  for (uint32_t s = 0; s < segments; ++s) out += UnpackSegment(matrix, row, s, out);
}

}  // namespace onecopy::kernels
