#include "runtime/shard/read_list.h"

#include <algorithm>
#include <numeric>

#include "kernels/types.h"
#include "runtime/base/check.h"

namespace onecopy::shard {

std::vector<ReadBlock> MakeReadList(const proto::ModelSpec& spec, uint64_t max_block_bytes) {
  std::vector<int> order(spec.weights_size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    const auto &wa = spec.weights(a), &wb = spec.weights(b);
    return std::pair(wa.file(), wa.offset()) < std::pair(wb.file(), wb.offset());
  });

  std::vector<ReadBlock> blocks;
  const auto add = [&](const proto::Weight& weight, ReadItem item, uint64_t offset, uint64_t bytes) {
    // A gap larger than a page is another tensor's (e.g. one that the family does not use): not read.
    constexpr uint64_t kMaxGap = 4096;
    ReadBlock* last = blocks.empty() ? nullptr : &blocks.back();
    if (!last || last->file != weight.file() || offset < last->offset + last->bytes ||
        offset - (last->offset + last->bytes) > kMaxGap || offset + bytes - last->offset > max_block_bytes) {
      blocks.push_back({weight.file(), offset, 0, {}});
      last = &blocks.back();
    }
    item.offset_in_block = offset - last->offset;
    last->items.push_back(item);
    last->bytes = offset + bytes - last->offset;
  };

  for (int w : order) {
    const proto::Weight& weight = spec.weights(w);
    const auto& info = kernels::Info(static_cast<kernels::WeightType>(weight.type()));
    const uint64_t row_bytes = kernels::RowBytes(info, weight.cols());
    const uint64_t steps = std::max<uint64_t>(1, max_block_bytes / (row_bytes * kRowStep));
    const auto rows_per_item = static_cast<uint32_t>(std::min<uint64_t>(steps * kRowStep, UINT32_MAX / 2));
    const auto rows = static_cast<uint32_t>(weight.rows());
    for (uint32_t e = 0; e < std::max(1u, weight.n_experts()); ++e) {
      const uint64_t base = weight.offset() + e * rows * row_bytes;
      for (uint32_t r = 0; r < rows; r += rows_per_item) {
        const uint32_t end = std::min(rows, r + rows_per_item);
        add(weight, {w, e, r, end, 0}, base + r * row_bytes, (end - r) * row_bytes);
      }
    }
  }
  return blocks;
}

}  // namespace onecopy::shard
