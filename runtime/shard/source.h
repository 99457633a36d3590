// What a weight is in the model's files: one tensor of rows, or several ("parts") of lines, out of which its rows are put
// together (assemble.h). Pure.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/types.h"
#include "proto/model.pb.h"
#include "runtime/base/check.h"

namespace onecopy::shard {

inline constexpr size_t kMaxParts = 4;
// Lines that are columns are read in multiples of this, where source blocks of every type begin.
inline constexpr uint32_t kColStep = 256;

// The type of the blocks that come out of the files; the weight's own unless the loader quantises it.
inline const kernels::TypeInfo& FileInfo(const proto::Weight& weight) {
  return kernels::Info(
      static_cast<kernels::WeightType>(weight.has_file_type() ? weight.file_type() : weight.type()));
}
// Columns at which blocks of both types begin: what is read of a row begins and ends there. Block sizes are powers of two.
inline uint32_t ReadBlockCols(const proto::Weight& weight) {
  const auto& info = kernels::Info(static_cast<kernels::WeightType>(weight.type()));
  return std::max(info.block_cols, FileInfo(weight).block_cols);
}

// Line i covers rows (columns, see LinesAreColumns) [i * span, (i + 1) * span) of the tensor.
struct SourcePart {
  uint32_t file;
  uint64_t offset;  // of line 0 of the first expert
  uint64_t line_bytes;
  uint32_t span;
  uint32_t type;  // kernels::WeightType of scales
};

// Otherwise its rows lie in the file as kernels' packing takes them.
inline bool IsAssembled(const proto::Weight& weight) {
  return weight.layout() != proto::Weight::ROWS || weight.interleave() != 0;
}
inline bool LinesAreColumns(const proto::Weight& weight) {
  return weight.layout() == proto::Weight::INT_GPTQ || weight.layout() == proto::Weight::INT4_AWQ ||
         weight.layout() == proto::Weight::FLOATS_TRANSPOSED;
}

// Rows or columns of the tensor for each of the weight's: more than one where weights take turns. A vector is one row; weights
// whose lines are columns stand side by side in each.
inline uint64_t LinesPerOwn(const proto::Weight& weight) {
  const bool one = weight.rows() == 1 || weight.layout() == proto::Weight::FLOATS_TRANSPOSED;
  return one ? 1 : std::max(1u, weight.interleave());
}

// Of an assembled weight.
inline std::vector<SourcePart> PartsOf(const proto::Weight& weight) {
  if (weight.layout() == proto::Weight::ROWS) {
    const kernels::TypeInfo& info = FileInfo(weight);
    const uint64_t per_row = weight.rows() == 1 ? std::max(1u, weight.interleave()) : 1;
    return {{weight.file(), weight.offset(), kernels::RowBytes(info, weight.cols() * per_row), 1,
             static_cast<uint32_t>(info.type)}};
  }
  std::vector<SourcePart> parts;
  for (const auto& part : weight.parts())
    parts.push_back({part.file(), part.offset(), part.line_bytes(), part.span(), part.type()});
  return parts;
}

// Where the tensor has the weight's own row (column), counted in lines of LinesPerOwn.
inline uint64_t PlaceOf(const proto::Weight& weight, uint64_t row) {
  const uint64_t run = weight.run_rows();
  return weight.first_row() + (run == 0 ? row : row / run * weight.run_stride() + row % run);
}

// Lines [first, end) of a part that hold the weight's own rows (columns) [begin, end), of which there is one at least; with
// those of other weights between its runs.
struct LineRange {
  uint64_t first, end;
};
inline LineRange LinesOf(const proto::Weight& weight, const SourcePart& part, uint64_t begin, uint64_t end) {
  const uint64_t per_own = LinesPerOwn(weight);
  return {PlaceOf(weight, begin) * per_own / part.span,
          DivUp((PlaceOf(weight, end - 1) + 1) * per_own, part.span)};
}

// Bytes of all parts for the weight's own rows (columns) [begin, end).
inline uint64_t SourceBytes(const proto::Weight& weight, uint64_t begin, uint64_t end) {
  uint64_t bytes = 0;
  for (const SourcePart& part : PartsOf(weight)) {
    const LineRange lines = LinesOf(weight, part, begin, end);
    bytes += (lines.end - lines.first) * part.line_bytes;
  }
  return bytes;
}

// What the smallest item that can be read takes at most, wherever it begins: `step` rows (columns), and of lines that cover
// more one on each side.
inline uint64_t MinItemBytes(const proto::Weight& weight, uint32_t step) {
  uint64_t bytes = SourceBytes(weight, 0, step);
  for (const SourcePart& part : PartsOf(weight))
    if (part.span > 1) bytes += part.line_bytes;
  return bytes;
}

}  // namespace onecopy::shard
