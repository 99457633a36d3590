#include "runtime/shard/read_list.h"

#include <gtest/gtest.h>

#include <map>

#include "tests/support/model_shapes.h"

namespace onecopy::shard {
namespace {

TEST(ReadList, HasEveryRowOnceAndNoByteTwice) {
  const proto::ModelSpec spec = test::SmallModel(kernels::WeightType::kQ4_K);
  for (uint64_t max_bytes : {1u << 12, 1u << 16, 1u << 20, 1u << 30}) {
    std::map<std::pair<int, uint32_t>, uint32_t> next_row;
    std::map<uint32_t, uint64_t> file_end;
    for (const ReadBlock& block : MakeReadList(spec, max_bytes)) {
      ASSERT_GE(block.offset, file_end[block.file]);
      file_end[block.file] = block.offset + block.bytes;
      for (const ReadItem& item : block.items) {
        const auto& weight = spec.weights(item.weight);
        const auto& info = kernels::Info(static_cast<kernels::WeightType>(weight.type()));
        const uint64_t row_bytes = kernels::RowBytes(info, weight.cols());
        ASSERT_EQ(item.row_begin, (next_row[{item.weight, item.expert}]));
        ASSERT_EQ(item.row_begin % kRowStep, 0u);
        ASSERT_EQ(block.offset + item.offset_in_block,
                  weight.offset() + (item.expert * weight.rows() + item.row_begin) * row_bytes);
        ASSERT_LE(item.offset_in_block + (item.row_end - item.row_begin) * row_bytes, block.bytes);
        next_row[{item.weight, item.expert}] = item.row_end;
      }
      ASSERT_LE(block.bytes, std::max<uint64_t>(max_bytes, kRowStep * 1024));
    }
    for (int w = 0; w < spec.weights_size(); ++w)
      for (uint32_t e = 0; e < std::max(1u, spec.weights(w).n_experts()); ++e)
        ASSERT_EQ((next_row[{w, e}]), spec.weights(w).rows()) << spec.weights(w).name();
  }
}

}  // namespace
}  // namespace onecopy::shard
