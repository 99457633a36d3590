// What a host reads: all that its ranks own, no byte twice, and little else.

#include "runtime/shard/read_list.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "kernels/registry.h"
#include "runtime/base/check.h"
#include "runtime/shard/plan.h"
#include "tests/support/model_shapes.h"

namespace onecopy::shard {
namespace {

using kernels::WeightType;

const kernels::TypeInfo& InfoOf(const proto::Weight& weight) {
  return kernels::Info(static_cast<WeightType>(weight.type()));
}

proto::ShardPlan PlanFor(const proto::ModelSpec& spec, int ranks) {
  std::string error;
  return MakeShardPlan(spec, *kernels::SelectTable("", &error), {.ranks = ranks, .shares = {}});
}

std::vector<int> Ranks(int begin, int end) {
  std::vector<int> ranks(end - begin);
  std::iota(ranks.begin(), ranks.end(), begin);
  return ranks;
}

uint64_t BytesOf(const std::vector<ReadBlock>& blocks) {
  uint64_t bytes = 0;
  for (const ReadBlock& block : blocks) bytes += block.bytes;
  return bytes;
}

uint64_t FileBytes(const proto::ModelSpec& spec) {
  uint64_t bytes = 0;
  for (const proto::Weight& w : spec.weights())
    bytes += w.rows() * kernels::RowBytes(InfoOf(w), w.cols()) * std::max(1u, w.n_experts());
  return bytes;
}

// Where byte `at` of a block comes from.
std::pair<uint32_t, uint64_t> Origin(const ReadBlock& block, uint64_t at) {
  for (const FilePiece& piece : block.pieces) {
    if (at < piece.bytes * piece.runs)
      return {piece.file, piece.offset + at / piece.bytes * piece.stride + at % piece.bytes};
    at -= piece.bytes * piece.runs;
  }
  return {UINT32_MAX, 0};
}

// Every element that one of `ranks` owns is in an item whose bytes come from where the file has it; by item, so that
// an item too many or too few is found.
void ExpectListServes(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                      const std::vector<int>& ranks, const std::vector<ReadBlock>& blocks) {
  std::map<std::pair<int, uint32_t>, std::vector<Range>> rows;
  std::map<uint32_t, std::vector<FilePiece>> pieces;
  for (const ReadBlock& block : blocks) {
    uint64_t sum = 0;
    for (const FilePiece& piece : block.pieces) {
      sum += piece.bytes * piece.runs;
      for (uint64_t run = 0; run < piece.runs; ++run)
        pieces[piece.file].push_back({piece.file, piece.offset + run * piece.stride, piece.bytes});
    }
    ASSERT_EQ(sum, block.bytes);
    for (const ReadItem& item : block.items) {
      const auto& weight = spec.weights(item.weight);
      const uint64_t stride = kernels::RowBytes(InfoOf(weight), weight.cols());
      rows[{item.weight, item.expert}].push_back({item.row_begin, item.row_end});
      for (uint32_t r = item.row_begin; r < item.row_end; ++r) {
        const uint64_t at = item.offset_in_block + (r - item.row_begin) * item.row_bytes;
        const uint32_t run = weight.run_rows();
        const uint64_t row = run == 0 ? r : r / run * weight.run_stride() + r % run;
        const uint64_t want =
            weight.offset() + (item.expert * weight.rows() + row) * stride + item.first_byte;
        ASSERT_EQ(Origin(block, at), std::pair(weight.file(), want)) << weight.name() << " row " << r;
        ASSERT_EQ(Origin(block, at + item.row_bytes - 1),
                  std::pair(weight.file(), want + item.row_bytes - 1));
      }
      if (plan.placements(item.weight).axis() != proto::WeightPlacement::COLS) {
        ASSERT_EQ(item.row_bytes, stride);
        continue;
      }
      for (const int rank : ranks) {
        const Range cols = OwnedRange(spec, plan, item.weight, item.expert, rank);
        if (cols.size() == 0) continue;
        const auto& info = InfoOf(weight);
        ASSERT_GE(cols.begin / info.block_cols * info.block_bytes, item.first_byte);
        ASSERT_LE(DivUp(cols.end, info.block_cols) * info.block_bytes, item.first_byte + item.row_bytes);
      }
    }
  }
  for (const auto& [file, read] : pieces)
    for (size_t p = 1; p < read.size(); ++p)
      ASSERT_GE(read[p].offset, read[p - 1].offset + read[p - 1].bytes) << "a byte is read twice";
  for (int w = 0; w < spec.weights_size(); ++w) {
    for (uint32_t e = 0; e < std::max(1u, spec.weights(w).n_experts()); ++e) {
      std::vector<bool> want(spec.weights(w).rows()), got(spec.weights(w).rows());
      for (const int rank : ranks) {
        const Range range = OwnedRange(spec, plan, w, e, rank);
        if (range.size() == 0) continue;
        const bool whole = plan.placements(w).axis() != proto::WeightPlacement::ROWS;
        std::fill(want.begin() + (whole ? 0 : range.begin), whole ? want.end() : want.begin() + range.end,
                  true);
      }
      for (const Range& range : rows[{w, e}])
        for (uint32_t r = range.begin; r < range.end; ++r) {
          ASSERT_FALSE(got[r]) << spec.weights(w).name() << " row " << r << " is in two items";
          got[r] = true;
        }
      ASSERT_EQ(got, want) << spec.weights(w).name() << " expert " << e;
    }
  }
}

TEST(ReadList, HasEveryRowOnceAndNoByteTwice) {
  const proto::ModelSpec spec = test::SmallModel(WeightType::kQ4_K);
  const proto::ShardPlan plan = PlanFor(spec, 3);
  for (uint64_t max_bytes : {1u << 12, 1u << 16, 1u << 20, 1u << 30}) {
    const auto blocks = MakeReadList(spec, plan, Ranks(0, 3), max_bytes);
    ExpectListServes(spec, plan, Ranks(0, 3), blocks);
    EXPECT_EQ(BytesOf(blocks), FileBytes(spec));
    for (const ReadBlock& block : blocks) {
      ASSERT_LE(block.bytes, std::max<uint64_t>(max_bytes, kRowStep * 1024));
      for (const ReadItem& item : block.items) ASSERT_EQ(item.row_begin % kRowStep, 0u);
    }
  }
}

TEST(ReadList, RowsInRunsAreFoundInFileOrder) {
  const proto::ModelSpec spec = test::HybridModel();
  for (const int ranks : {1, 3, 7, 24}) {
    const proto::ShardPlan plan = PlanFor(spec, ranks);
    for (uint64_t max_bytes : {1u << 14, 1u << 18, 1u << 30}) {
      const auto blocks = MakeReadList(spec, plan, Ranks(0, ranks), max_bytes);
      ExpectListServes(spec, plan, Ranks(0, ranks), blocks);
      EXPECT_EQ(BytesOf(blocks), FileBytes(spec));
    }
    ExpectListServes(spec, plan, Ranks(0, 1), MakeReadList(spec, plan, Ranks(0, 1), 1 << 18));
  }
}

TEST(ReadList, OfAHostHasWhatItsRanksOwnAndTheHostsTogetherHaveAll) {
  for (const auto type : {WeightType::kQ8_0, WeightType::kQ6_K}) {
    const proto::ModelSpec spec = test::SmallModel(type);
    for (const auto& hosts : std::vector<std::vector<std::vector<int>>>{
             {{0, 1}, {2, 3}}, {{0, 2}, {1, 3}}, {{0}, {1, 2, 3, 4, 5, 6}}, {{0, 1}, {2}, {3, 4, 5}}}) {
      int n_ranks = 0;
      for (const auto& ranks : hosts) n_ranks += static_cast<int>(ranks.size());
      const proto::ShardPlan plan = PlanFor(spec, n_ranks);
      for (const auto& ranks : hosts) {
        SCOPED_TRACE(::testing::PrintToString(hosts) + " host of rank " + std::to_string(ranks[0]));
        ExpectListServes(spec, plan, ranks, MakeReadList(spec, plan, ranks, 1 << 16));
        const auto narrow = MakeReadList(spec, plan, ranks, 1 << 16, 1);
        ExpectListServes(spec, plan, ranks, narrow);
        EXPECT_LE(BytesOf(narrow), BytesOf(MakeReadList(spec, plan, ranks, 1 << 16)));
      }
    }
  }
}

TEST(ReadList, OfTwoHostsIsHalfOfWhatIsCutByRowsAndOnRequestOfWhatIsCutByColumns) {
  const proto::ModelSpec spec =
      test::Shapes(ONECOPY_TEST_DATA "/model-shapes.json", "Qwen3-30B-A3B", WeightType::kQ8_0);
  const proto::ShardPlan plan = PlanFor(spec, 4);
  uint64_t by_rows = 0, by_cols = 0, replicated = 0;
  for (int w = 0; w < spec.weights_size(); ++w) {
    const auto& weight = spec.weights(w);
    const uint64_t bytes =
        weight.rows() * kernels::RowBytes(InfoOf(weight), weight.cols()) * std::max(1u, weight.n_experts());
    const auto axis = plan.placements(w).axis();
    (axis == proto::WeightPlacement::ROWS   ? by_rows
     : axis == proto::WeightPlacement::COLS ? by_cols
                                            : replicated) += bytes;
  }
  const uint64_t first = BytesOf(MakeReadList(spec, plan, {0, 1}, 8 << 20));
  const uint64_t second = BytesOf(MakeReadList(spec, plan, {2, 3}, 8 << 20));
  printf("file %.2f GB: by rows %.2f, by columns %.2f; hosts read %.2f and %.2f\n", FileBytes(spec) * 1e-9,
         by_rows * 1e-9, by_cols * 1e-9, first * 1e-9, second * 1e-9);
  EXPECT_NEAR(static_cast<double>(first), by_rows / 2.0 + by_cols + replicated, 0.01 * FileBytes(spec));
  const uint64_t narrow = BytesOf(MakeReadList(spec, plan, {0, 1}, 8 << 20, 1));
  printf("without other hosts' columns: %.2f\n", narrow * 1e-9);
  EXPECT_NEAR(static_cast<double>(narrow), (by_rows + by_cols) / 2.0 + replicated, 0.01 * FileBytes(spec));
  EXPECT_NEAR(static_cast<double>(first + second), by_rows + 2.0 * (by_cols + replicated),
              0.001 * FileBytes(spec));
}

TEST(ReadList, LeavesOutLongPartsOfRowsThatAreOtherHosts) {
  test::SpecBuilder builder(WeightType::kF32);
  builder.spec.set_hidden_dim(64);
  builder.spec.set_n_layers(1);
  builder.spec.set_n_heads(4);
  builder.spec.set_n_kv_heads(4);
  builder.spec.set_head_dim(32);
  builder.spec.set_intermediate_dim(32768);
  builder.spec.add_dense_layers(0);
  builder.Matrix(proto::Weight::DENSE_DOWN, 0, 64, 32768);  // rows of 128 KiB
  const proto::ShardPlan plan = PlanFor(builder.spec, 4);
  for (const auto& ranks : std::vector<std::vector<int>>{{0, 1}, {2, 3}, {1}, {1, 2}}) {
    const auto blocks = MakeReadList(builder.spec, plan, ranks, 1 << 20);
    ExpectListServes(builder.spec, plan, ranks, blocks);
    EXPECT_EQ(BytesOf(blocks), 64u * 32768 * ranks.size());  // a rank owns a quarter of 4-byte columns
  }
  const auto blocks = MakeReadList(builder.spec, plan, {0, 1, 2}, 1 << 20);
  ExpectListServes(builder.spec, plan, {0, 1, 2}, blocks);
  EXPECT_EQ(BytesOf(blocks), 64u * 32768 * 3);  // exactly kMinSkippedRowBytes is left out
}

TEST(ReadList, LeavesOutMatricesThatNoRankOfTheHostOwns) {
  // As with a pipeline of layers: ranks 0 and 1 own all of some weights, ranks 2 and 3 nothing.
  const proto::ModelSpec spec = test::SmallModel(WeightType::kQ8_0);
  proto::ShardPlan plan = PlanFor(spec, 4);
  uint64_t dropped = 0;
  for (int w = 0; w < spec.weights_size(); ++w) {
    if (spec.weights(w).layer() != 2 || plan.placements(w).axis() == proto::WeightPlacement::REPLICATED)
      continue;
    for (const uint32_t p : plan.placements(w).partition()) {
      auto* bounds = plan.mutable_partitions(static_cast<int>(p))->mutable_bounds();
      for (int r = 2; r < 5; ++r) bounds->Set(r, bounds->Get(4));
    }
    dropped += spec.weights(w).rows() * kernels::RowBytes(InfoOf(spec.weights(w)), spec.weights(w).cols()) *
               std::max(1u, spec.weights(w).n_experts());
  }
  const auto blocks = MakeReadList(spec, plan, {2, 3}, 1 << 20);
  ExpectListServes(spec, plan, {2, 3}, blocks);
  EXPECT_GT(dropped, 0u);
  EXPECT_LE(BytesOf(blocks), FileBytes(spec) - dropped);
}

}  // namespace
}  // namespace onecopy::shard
