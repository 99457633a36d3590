#include "runtime/shard/packer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

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

}  // namespace

void Packer::Split(const ReadItem& item, const uint8_t* block, std::vector<PackTask>* tasks) const {
  const proto::Weight& weight = spec_.weights(item.weight);
  const bool assembled = IsAssembled(weight);
  uint64_t row_bytes = item.row_bytes;
  if (assembled) row_bytes = kernels::RowBytes(kernels::Info(TypeOf(weight)), item.col_end - item.col_begin);
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
  const auto& info = kernels::Info(static_cast<kernels::WeightType>(weight.type()));
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
  if (IsAssembled(weight)) return PackAssembled(task, part);
  const kernels::PackedMatrix& matrix = store_.Matrix(item.weight, item.expert);
  const uint8_t* src = task.src + (part.begin - task.row_begin) * item.row_bytes;
  if (axis == WeightPlacement::COLS)
    src += uint64_t{matrix.first_col} / info.block_cols * info.block_bytes - item.first_byte;
  kernels::PackRows(matrix, store_.MatrixData(item.weight, item.expert), part.first_row,
                    part.end - part.begin, src, item.row_bytes);
}

// Rows are put together a few at a time, so that they stay in the cache until they are packed.
void Packer::PackAssembled(const PackTask& task, const Part& part) const {
  const ReadItem& item = *task.item;
  const proto::Weight& weight = spec_.weights(item.weight);
  const auto& info = kernels::Info(TypeOf(weight));
  const kernels::PackedMatrix& matrix = store_.Matrix(item.weight, item.expert);
  const uint32_t col_begin = std::max(item.col_begin, matrix.first_col);
  const uint32_t col_end = std::min(item.col_end, matrix.first_col + matrix.cols);
  if (col_begin >= col_end) return;
  const uint32_t from_col = col_begin / info.block_cols * info.block_cols;
  const uint64_t row_bytes = kernels::RowBytes(info, col_end - from_col);
  std::vector<uint8_t> rows(kRowStep * row_bytes);
  uint8_t* out = store_.MatrixData(item.weight, item.expert);
  for (uint32_t r = part.begin; r < part.end; r += kRowStep) {
    const uint32_t end = std::min(part.end, r + kRowStep), first_row = part.first_row + (r - part.begin);
    const char* problem = AssembleRows(weight, item, task.src, r, end, from_col, col_end, rows.data());
    if (problem != nullptr) {
      const std::lock_guard lock(mutex_);
      if (!error_)
        error_.emplace(ErrorCode::kBadInput,
                       fmt::format("{}: tensor \"{}\": {}", spec_.files(static_cast<int>(weight.file())),
                                   weight.name(), problem));
      return;
    }
    kernels::PackPart(matrix, out, first_row, end - r, col_begin, col_end - col_begin, rows.data(),
                      row_bytes);
  }
}

std::optional<Error> Packer::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

}  // namespace onecopy::shard
