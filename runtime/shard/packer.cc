#include "runtime/shard/packer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/quantize.h"
#include "runtime/base/check.h"
#include "runtime/shard/assemble.h"
#include "runtime/shard/plan.h"
#include "runtime/shard/plan_cut.h"

namespace onecopy::shard {

using proto::WeightPlacement;

namespace {

void Change(proto::Weight::Change change, uint64_t n, float* x) {
  for (uint64_t i = 0; i < n && change == proto::Weight::PLUS_ONE; ++i) x[i] = 1.0f + x[i];
  for (uint64_t i = 0; i < n && change == proto::Weight::MINUS_EXP; ++i) x[i] = -std::exp(x[i]);
}

struct FileRows {
  const uint8_t* blocks;
  uint64_t row_bytes;
  const kernels::TypeInfo* info;
};

// Rows of (*floats).size() columns to blocks of another type, row behind row; floats is what a row is decoded to. False
// where a weight is not finite.
bool Quantize(const FileRows& from, uint32_t rows, const kernels::TypeInfo& to, std::vector<float>* floats,
              uint8_t* out) {
  const kernels::QuantizeFn quantize = kernels::FindQuantizer(to.type);
  const size_t cols = floats->size();
  for (uint32_t r = 0; r < rows; ++r, out += kernels::RowBytes(to, cols)) {
    from.info->decode(from.blocks + r * from.row_bytes, floats->data(), cols);
    if (!std::all_of(floats->begin(), floats->end(), [](float x) { return std::isfinite(x); })) return false;
    quantize(floats->data(), out, cols);
  }
  return true;
}

}  // namespace

void Packer::Split(const ReadItem& item, const uint8_t* block, std::vector<PackTask>* tasks) const {
  const proto::Weight& weight = spec_.weights(item.weight);
  const bool assembled = IsAssembled(weight);
  uint64_t row_bytes = item.row_bytes;
  if (assembled) row_bytes = kernels::RowBytes(FileInfo(weight), item.col_end - item.col_begin);
  const uint8_t* src = block + (assembled ? 0 : item.offset_in_block);
  const auto step =
      static_cast<uint32_t>(std::max<uint64_t>(1, (512 << 10) / (row_bytes * kRowStep)) * kRowStep);
  for (uint32_t r = item.row_begin; r < item.row_end; r += step)
    tasks->push_back({&item, r, std::min(item.row_end, r + step),
                      src + (assembled ? 0 : (r - item.row_begin) * row_bytes)});
}

Packer::Part Packer::OwnPart(const PackTask& task) const {
  const ReadItem& item = *task.item;
  if (store_.Matrix(item.weight, item.expert).rows == 0) return {};
  if (plan_.placements(item.weight).axis() == WeightPlacement::COLS)
    return {task.row_begin, task.row_end, task.row_begin};
  const Range range = OwnedRange(spec_, plan_, item.weight, item.expert, rank_);
  const uint32_t begin = std::max(task.row_begin, range.begin), end = std::min(task.row_end, range.end);
  if (begin >= end) return {};
  return {begin, end, begin - range.begin};
}

std::span<const uint8_t> Packer::Target(const PackTask& task) const {
  const ReadItem& item = *task.item;
  if (plan_.placements(item.weight).axis() == WeightPlacement::REPLICATED) return {};
  const Part part = OwnPart(task);
  if (part.begin == part.end) return {};
  const kernels::PackedMatrix& matrix = store_.Matrix(item.weight, item.expert);
  const uint64_t tile_bytes = kernels::TileBytes(matrix);
  const uint64_t first_tile = part.first_row / matrix.row_tile;
  const uint64_t end_tile = DivUp(uint64_t{part.first_row} + part.end - part.begin, matrix.row_tile);
  return {matrix.data + first_tile * tile_bytes, (end_tile - first_tile) * tile_bytes};
}

void Packer::Pack(const PackTask& task) const {
  const ReadItem& item = *task.item;
  const proto::Weight& weight = spec_.weights(item.weight);
  const kernels::TypeInfo& info = FileInfo(weight);
  const auto axis = plan_.placements(item.weight).axis();
  if (axis == WeightPlacement::REPLICATED) {
    for (uint32_t r = task.row_begin; r < task.row_end; ++r) {
      float* row = store_.VectorData(item.weight) + r * weight.cols();
      info.decode(task.src + (r - task.row_begin) * item.row_bytes, row, weight.cols());
      Change(weight.change(), weight.cols(), row);
    }
    return;
  }
  const Part part = OwnPart(task);
  if (part.begin == part.end) return;
  if (IsAssembled(weight) || weight.has_file_type()) return PackByBuffer(task, part);
  const kernels::PackedMatrix& matrix = store_.Matrix(item.weight, item.expert);
  kernels::PackRows(matrix, store_.MatrixData(item.weight, item.expert), part.first_row,
                    part.end - part.begin, RowAt(task, part.begin, matrix.first_col / info.block_cols),
                    item.row_bytes);
}

// Of an item that is not assembled: where a row's block is.
const uint8_t* Packer::RowAt(const PackTask& task, uint32_t row, uint64_t block) const {
  const kernels::TypeInfo& info = FileInfo(spec_.weights(task.item->weight));
  return task.src + (row - task.row_begin) * task.item->row_bytes + block * info.block_bytes -
         task.item->first_byte;
}

// Rows are put together, or quantised, a few at a time, so that they stay in the cache until they are packed.
void Packer::PackByBuffer(const PackTask& task, const Part& part) const {
  const ReadItem& item = *task.item;
  const proto::Weight& weight = spec_.weights(item.weight);
  const kernels::TypeInfo &from = FileInfo(weight), &to = kernels::Info(TypeOf(weight));
  const kernels::PackedMatrix& matrix = store_.Matrix(item.weight, item.expert);
  const bool assembled = IsAssembled(weight);
  uint32_t col_begin = matrix.first_col, col_end = matrix.first_col + matrix.cols;
  if (assembled) {
    col_begin = std::max(item.col_begin, col_begin);
    col_end = std::min(item.col_end, col_end);
  }
  if (col_begin >= col_end) return;
  // Only whole blocks can be quantised.
  const uint32_t step = ReadBlockCols(weight), from_col = col_begin / step * step;
  const uint32_t to_col = weight.has_file_type()
                              ? static_cast<uint32_t>(std::min(weight.cols(), RoundUp(col_end, step)))
                              : col_end;
  const uint32_t cols = to_col - from_col;
  const uint64_t file_bytes = kernels::RowBytes(from, cols), row_bytes = kernels::RowBytes(to, cols);
  std::vector<uint8_t> file_rows(assembled ? kRowStep * file_bytes : 0);
  std::vector<uint8_t> rows(weight.has_file_type() ? kRowStep * row_bytes : 0);
  std::vector<float> floats(weight.has_file_type() ? cols : 0);
  uint8_t* out = store_.MatrixData(item.weight, item.expert);
  for (uint32_t r = part.begin; r < part.end; r += kRowStep) {
    const uint32_t end = std::min(part.end, r + kRowStep), first_row = part.first_row + (r - part.begin);
    const uint8_t* blocks = file_rows.data();
    const char* problem = nullptr;
    if (assembled)
      problem = AssembleRows(weight, item, task.src, r, end, from_col, to_col, file_rows.data());
    else
      blocks = RowAt(task, r, from_col / from.block_cols);
    if (problem == nullptr && weight.has_file_type()) {
      const bool finite = Quantize({blocks, assembled ? file_bytes : item.row_bytes, &from}, end - r, to,
                                   &floats, rows.data());
      if (!finite) problem = "expected finite weights, found infinity or not a number; the file is damaged";
      blocks = rows.data();
    }
    if (problem != nullptr) return Report(weight, problem);
    kernels::PackPart(matrix, out, first_row, end - r, col_begin, col_end - col_begin,
                      blocks + kernels::RowBytes(to, col_begin / to.block_cols * to.block_cols - from_col),
                      row_bytes);
  }
}

void Packer::Report(const proto::Weight& weight, const char* problem) const {
  const std::lock_guard lock(mutex_);
  if (error_) return;
  error_.emplace(ErrorCode::kBadInput,
                 fmt::format("{}: tensor \"{}\": {}", spec_.files(static_cast<int>(weight.file())),
                             weight.name(), problem));
}

std::optional<Error> Packer::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

}  // namespace onecopy::shard
