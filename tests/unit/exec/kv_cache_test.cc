#include "runtime/exec/kv_cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "tests/support/kernel_table.h"
#include "tests/support/model_shapes.h"

namespace onecopy::exec {
namespace {

KvCache MakeCache(uint64_t tokens, uint32_t slots) {
  const auto& table = test::RefTable();
  static const proto::ModelSpec spec = test::SmallModel(kernels::WeightType::kQ8_0);
  const auto plan = shard::MakeShardPlan(spec, table, {.ranks = 1, .shares = {}});
  numa::ArenaSource memory;
  return KvCache(spec, plan, table, 0, &memory, tokens, slots);
}

TEST(KvCache, RowsOfAllSequencesLayersAndHeadsAreApart) {
  KvCache cache = MakeCache(512, 2);
  ASSERT_TRUE(cache.Grow(0, 130));
  ASSERT_TRUE(cache.Grow(1, 65));
  std::set<uint8_t*> rows;
  size_t n = 0;
  for (uint32_t slot : {0u, 1u})
    for (uint32_t p = 0; p < (slot == 0 ? 130u : 65u); ++p)
      for (uint32_t layer = 0; layer < 4; ++layer)
        for (uint32_t head = 0; head < 2; ++head, n += 2) {
          rows.insert(cache.Key(layer, head, slot, p));
          rows.insert(cache.Value(layer, head, slot, p));
        }
  ASSERT_EQ(rows.size(), n);
  uint8_t* last = nullptr;
  for (uint8_t* row : rows) {
    if (last) {
      ASSERT_GE(row - last, 64 * 4) << "rows of 64 floats overlap";
    }
    last = row;
  }
}

TEST(KvCache, FullChangesNothingAndReleaseMakesRoom) {
  KvCache cache = MakeCache(256, 2);  // 4 pages
  ASSERT_TRUE(cache.Grow(0, 129));    // 3 pages
  EXPECT_FALSE(cache.Grow(1, 65));    // would need 2
  EXPECT_TRUE(cache.Grow(1, 64));
  EXPECT_GT(cache.NewPages(0, 193), cache.free_pages());
  cache.Release(1);
  EXPECT_TRUE(cache.Grow(0, 193));
}

TEST(KvCache, ASharedBeginningIsInMemoryOnce) {
  KvCache cache = MakeCache(320, 3);  // 5 pages
  ASSERT_TRUE(cache.Grow(0, 150));    // 3 pages
  cache.Share(0, 1, 2);
  EXPECT_EQ(cache.free_pages(), 2u);
  EXPECT_EQ(cache.Key(0, 0, 1, 127), cache.Key(0, 0, 0, 127));
  ASSERT_TRUE(cache.Grow(1, 129));  // a page of its own
  EXPECT_EQ(cache.free_pages(), 1u);
  EXPECT_NE(cache.Key(0, 0, 1, 128), cache.Key(0, 0, 0, 128));
  cache.Release(0);  // what the other holds too stays
  EXPECT_EQ(cache.free_pages(), 2u);
  cache.Share(1, 2, 1);
  cache.Release(1);
  EXPECT_EQ(cache.free_pages(), 4u);
  cache.Release(2);
  EXPECT_EQ(cache.free_pages(), 5u);
  EXPECT_TRUE(cache.Grow(2, 320));
}

}  // namespace
}  // namespace onecopy::exec
