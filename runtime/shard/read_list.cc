#include "runtime/shard/read_list.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <span>

#include "kernels/types.h"
#include "runtime/shard/plan.h"

namespace onecopy::shard {
namespace {

using proto::WeightPlacement;

// What some ranks need of one matrix: ranges of rows, and the bytes [first_byte, end_byte) of each.
struct Need {
  std::vector<Range> rows;
  uint64_t first_byte = 0, end_byte = 0;
};

class Needs {
 public:
  Needs(const proto::ModelSpec& spec, const proto::ShardPlan& plan, const std::vector<int>& ranks,
        uint64_t min_skipped_row_bytes)
      : spec_(spec), plan_(plan), ranks_(ranks), min_skipped_row_bytes_(min_skipped_row_bytes) {}

  Need Of(int weight, uint32_t expert) const {
    const proto::Weight& w = spec_.weights(weight);
    const kernels::TypeInfo& info = FileInfo(w);
    Need need;
    need.end_byte = kernels::RowBytes(info, w.cols());
    const Range all = {0, static_cast<uint32_t>(w.rows())};
    switch (plan_.placements(weight).axis()) {
      case WeightPlacement::ROWS:
        need.rows = Owned(weight, expert);
        break;
      case WeightPlacement::COLS: {
        const std::vector<Range> cols = Owned(weight, expert);
        if (cols.empty()) break;
        need.rows = {all};
        const uint32_t step = ReadBlockCols(w);
        const uint64_t first = kernels::RowBytes(info, cols.front().begin - cols.front().begin % step);
        const uint64_t end =
            kernels::RowBytes(info, std::min<uint64_t>(w.cols(), RoundUp(cols.back().end, step)));
        if (need.end_byte - (end - first) < min_skipped_row_bytes_) break;
        need.first_byte = first;
        need.end_byte = end;
        break;
      }
      default:
        need.rows = {all};
    }
    return need;
  }

  // Ranges of rows, or of columns where lines are columns, of a weight that is assembled.
  std::vector<Range> OfLines(int weight, uint32_t expert) const {
    const proto::Weight& w = spec_.weights(weight);
    const bool columns = LinesAreColumns(w);
    const auto size = static_cast<uint32_t>(columns ? w.cols() : w.rows());
    const auto axis = plan_.placements(weight).axis();
    if (axis == WeightPlacement::REPLICATED) return {{0, size}};
    std::vector<Range> owned = Owned(weight, expert);
    if (owned.empty()) return {};
    if ((axis == WeightPlacement::COLS) != columns) return {{0, size}};
    if (!columns) return owned;
    std::vector<Range> ranges;
    for (const Range range : owned) {
      const uint32_t begin = range.begin / kColStep * kColStep;
      const auto end = std::min(size, static_cast<uint32_t>(RoundUp(range.end, kColStep)));
      if (!ranges.empty() && ranges.back().end >= begin)
        ranges.back().end = end;
      else
        ranges.push_back({begin, end});
    }
    return ranges;
  }

 private:
  // The ranks' ranges, ascending, those that touch joined. The ranges of a plan ascend with the rank.
  std::vector<Range> Owned(int weight, uint32_t expert) const {
    std::vector<Range> ranges;
    for (const int rank : ranks_) {
      const Range range = OwnedRange(spec_, plan_, weight, expert, rank);
      if (range.size() == 0) continue;
      if (!ranges.empty() && ranges.back().end == range.begin)
        ranges.back().end = range.end;
      else
        ranges.push_back(range);
    }
    return ranges;
  }

  const proto::ModelSpec& spec_;
  const proto::ShardPlan& plan_;
  const std::vector<int>& ranks_;
  const uint64_t min_skipped_row_bytes_;
};

class Builder {
 public:
  explicit Builder(uint64_t max_block_bytes) : max_block_bytes_(max_block_bytes) {}

  // item: all but offset_in_block. Its rows begin at `offset` of the file, `stride` bytes apart.
  void Add(ReadItem item, uint32_t file, uint64_t offset, uint64_t stride) {
    const uint64_t rows = item.row_end - item.row_begin;
    if (blocks_.empty() ||
        blocks_.back().bytes + Gap(file, offset).value_or(0) + rows * item.row_bytes > max_block_bytes_)
      blocks_.emplace_back();
    ReadBlock& block = blocks_.back();
    if (item.row_bytes == stride) {
      item.offset_in_block = Append(file, offset, rows * stride);
    } else {
      item.offset_in_block = block.bytes;
      block.pieces.push_back({file, offset, item.row_bytes, static_cast<uint32_t>(rows), stride});
      block.bytes += rows * item.row_bytes;
    }
    block.items.push_back(item);
  }

  // Rows (columns) [begin, end) of an expert's parts; items: of the weights that take turns in them, all but part_offsets.
  void AddParts(const proto::Weight& weight, uint32_t expert, uint32_t begin, uint32_t end,
                std::vector<ReadItem> items) {
    const std::vector<SourcePart> parts = PartsOf(weight);
    std::vector<size_t> order(parts.size());
    std::iota(order.begin(), order.end(), 0);
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
      return std::pair(parts[a].file, parts[a].offset) < std::pair(parts[b].file, parts[b].offset);
    });
    const uint64_t size = LinesAreColumns(weight) ? weight.cols() : weight.rows();
    for (const size_t p : order) {
      const LineRange all = LinesOf(weight, parts[p], 0, size), lines = LinesOf(weight, parts[p], begin, end);
      const uint64_t offset = parts[p].offset + (expert * all.end + lines.first) * parts[p].line_bytes;
      const bool first = p == order.front();
      if (first && (blocks_.empty() || blocks_.back().bytes + Gap(parts[p].file, offset).value_or(0) +
                                               SourceBytes(weight, begin, end) >
                                           max_block_bytes_))
        blocks_.emplace_back();
      const uint64_t at = Append(parts[p].file, offset, (lines.end - lines.first) * parts[p].line_bytes,
                                 /*may_skip=*/first);
      for (ReadItem& item : items) item.part_offsets[p] = at;
    }
    for (const ReadItem& item : items) blocks_.back().items.push_back(item);
  }

  std::vector<ReadBlock> Take() { return std::move(blocks_); }

 private:
  // Bytes between the end of the current block's last piece and `offset`, where both are read as one piece.
  std::optional<uint64_t> Gap(uint32_t file, uint64_t offset) const {
    const auto& pieces = blocks_.back().pieces;
    if (pieces.empty() || pieces.back().file != file || pieces.back().runs > 1) return std::nullopt;
    const uint64_t end = pieces.back().offset + pieces.back().bytes;
    return offset >= end && offset - end <= kMaxGapBytes ? std::optional(offset - end) : std::nullopt;
  }

  // Returns where in the block the bytes begin. may_skip: the gap to the last piece is accounted for.
  uint64_t Append(uint32_t file, uint64_t offset, uint64_t bytes, bool may_skip = true) {
    ReadBlock& block = blocks_.back();
    std::optional<uint64_t> gap = Gap(file, offset);
    if (gap && *gap > 0 && !may_skip) gap.reset();
    if (gap)
      block.pieces.back().bytes += *gap + bytes;
    else
      block.pieces.push_back({file, offset, bytes});
    block.bytes += gap.value_or(0) + bytes;
    return block.bytes - bytes;
  }

  const uint64_t max_block_bytes_;
  std::vector<ReadBlock> blocks_;
};

// Rows (columns) of an item of an assembled weight: as many as a block holds.
uint32_t LinesPerItem(const proto::Weight& weight, uint32_t size, uint64_t max_block_bytes) {
  const uint32_t step = LinesAreColumns(weight) ? kColStep : kRowStep;
  // Scales of FP8 cover 128 rows each: an item that begins with one does not read it twice.
  constexpr uint32_t kWhole = 4 * kRowStep;
  if (SourceBytes(weight, 0, size) <= max_block_bytes) return size;
  const uint64_t steps = max_block_bytes / MinItemBytes(weight, step);
  const auto lines =
      static_cast<uint32_t>(std::min<uint64_t>(std::max<uint64_t>(1, steps) * step, UINT32_MAX / 2));
  return lines > kWhole ? lines / kWhole * kWhole : lines;
}

// What is read in one go: a weight, or a run of one whose rows stand in several.
struct Stretch {
  int weight;
  uint32_t first_row = 0, end_row = UINT32_MAX;
  uint64_t file, offset;  // of first_row
};

// Weights that take turns in one tensor, which are cut alike; or a stretch of one.
void AddAssembled(const proto::ModelSpec& spec, const Needs& needs, std::span<const int> weights,
                  const Stretch& stretch, uint64_t max_block_bytes, Builder* builder) {
  const proto::Weight& weight = spec.weights(weights[0]);
  const bool columns = LinesAreColumns(weight);
  const uint32_t per_item =
      LinesPerItem(weight, static_cast<uint32_t>(columns ? weight.cols() : weight.rows()), max_block_bytes);
  for (uint32_t e = 0; e < std::max(1u, weight.n_experts()); ++e) {
    for (const Range range : needs.OfLines(weights[0], e)) {
      const uint32_t range_end = std::min(range.end, stretch.end_row);
      for (uint32_t begin = std::max(range.begin, stretch.first_row); begin < range_end; begin += per_item) {
        const uint32_t end = std::min(range_end, begin + per_item);
        std::vector<ReadItem> items;
        for (const int w : weights) {
          items.push_back({w, e, begin, end, 0, 0, 0, 0, static_cast<uint32_t>(weight.cols())});
          if (!columns) continue;
          items.back().row_begin = 0;
          items.back().row_end = static_cast<uint32_t>(weight.rows());
          items.back().col_begin = begin;
          items.back().col_end = end;
        }
        builder->AddParts(weight, e, begin, end, std::move(items));
      }
    }
  }
}

std::vector<Stretch> InFileOrder(const proto::ModelSpec& spec) {
  std::vector<Stretch> stretches;
  for (int w = 0; w < spec.weights_size(); ++w) {
    const proto::Weight& weight = spec.weights(w);
    const uint32_t run = weight.run_rows();
    const uint64_t row_bytes = IsAssembled(weight) ? PartsOf(weight)[0].line_bytes
                                                   : kernels::RowBytes(FileInfo(weight), weight.cols());
    const auto offset_of = [&](uint32_t row) { return weight.offset() + PlaceOf(weight, row) * row_bytes; };
    if (run == 0) {
      stretches.push_back({w, 0, UINT32_MAX, weight.file(), offset_of(0)});
      continue;
    }
    for (uint32_t r = 0; r < weight.rows(); r += run)
      stretches.push_back({w, r, r + run, weight.file(), offset_of(r)});
  }
  std::stable_sort(stretches.begin(), stretches.end(), [](const Stretch& a, const Stretch& b) {
    return std::pair(a.file, a.offset) < std::pair(b.file, b.offset);
  });
  return stretches;
}

}  // namespace

std::vector<ReadBlock> MakeReadList(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                                    const std::vector<int>& plan_ranks, uint64_t max_block_bytes,
                                    uint64_t min_skipped_row_bytes) {
  const std::vector<Stretch> order = InFileOrder(spec);
  const Needs needs(spec, plan, plan_ranks, min_skipped_row_bytes);
  Builder builder(max_block_bytes);
  for (size_t i = 0; i < order.size(); ++i) {
    const Stretch& stretch = order[i];
    const int w = stretch.weight;
    const proto::Weight& weight = spec.weights(w);
    if (IsAssembled(weight)) {
      std::vector<int> together = {w};
      for (;
           i + 1 < order.size() && order[i + 1].file == stretch.file && order[i + 1].offset == stretch.offset;
           ++i)
        together.push_back(order[i + 1].weight);
      AddAssembled(spec, needs, together, stretch, max_block_bytes, &builder);
      continue;
    }
    const kernels::TypeInfo& info = FileInfo(weight);
    const uint64_t stride = kernels::RowBytes(info, weight.cols());
    for (uint32_t e = 0; e < std::max(1u, weight.n_experts()); ++e) {
      const Need need = needs.Of(w, e);
      const uint64_t row_bytes = need.end_byte - need.first_byte;
      const uint64_t steps = std::max<uint64_t>(1, max_block_bytes / (row_bytes * kRowStep));
      const auto rows_per_item = static_cast<uint32_t>(std::min<uint64_t>(steps * kRowStep, UINT32_MAX / 2));
      const uint64_t base = stretch.offset + e * weight.rows() * stride + need.first_byte;
      for (const Range rows : need.rows) {
        const uint32_t rows_end = std::min(rows.end, stretch.end_row);
        for (uint32_t r = std::max(rows.begin, stretch.first_row); r < rows_end; r += rows_per_item) {
          const uint32_t end = std::min(rows_end, r + rows_per_item);
          builder.Add({w, e, r, end, 0, row_bytes, need.first_byte}, weight.file(),
                      base + (r - stretch.first_row) * stride, stride);
        }
      }
    }
  }
  return builder.Take();
}

}  // namespace onecopy::shard
