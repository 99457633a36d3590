#include "runtime/exec/kv_cache.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "tests/support/kernel_table.h"
#include "tests/support/model_shapes.h"

namespace onecopy::exec {
namespace {

constexpr kernels::KvType kTypes[] = {kernels::KvType::kF32, kernels::KvType::kQ8_0};

KvCache MakeCache(uint64_t tokens, uint32_t slots, kernels::KvType type = kernels::KvType::kF32) {
  const auto& table = kernels::WithCache(test::RefTable(), type);
  static const proto::ModelSpec spec = test::SmallModel(kernels::WeightType::kQ8_0);
  const auto plan = shard::MakeShardPlan(spec, table, {.ranks = 1, .shares = {}});
  numa::ArenaSource memory;
  return KvCache(spec, plan, table, 0, &memory, tokens, slots);
}

class KvCacheOfType : public ::testing::TestWithParam<kernels::KvType> {};
INSTANTIATE_TEST_SUITE_P(All, KvCacheOfType, ::testing::ValuesIn(kTypes),
                         [](const auto& info) { return std::string(kernels::KvTypeName(info.param)); });

TEST_P(KvCacheOfType, RowsOfAllSequencesLayersAndHeadsAreApart) {
  KvCache cache = MakeCache(512, 2, GetParam());
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
      ASSERT_GE(row - last, static_cast<ptrdiff_t>(kernels::KvRowBytes(GetParam(), 64))) << "rows overlap";
    }
    last = row;
  }
}

// What a plan says before anything is allocated is what is allocated, of each rank.
TEST_P(KvCacheOfType, TakesThePlannedBytes) {
  constexpr uint64_t kTokens = 1 << 16, kGranule = 2 << 20;  // of arenas
  const auto& table = kernels::WithCache(test::RefTable(), GetParam());
  proto::ModelSpec odd = test::SmallModel(kernels::WeightType::kQ8_0), latent = odd;
  odd.set_head_dim(80);  // two blocks and a half
  latent.set_kv_lora_rank(512);
  latent.set_qk_rope_head_dim(64);
  for (const proto::ModelSpec& spec : {test::SmallModel(kernels::WeightType::kQ8_0), odd, latent}) {
    for (const int ranks : {1, 2, 3}) {
      const auto plan =
          shard::MakeShardPlan(spec, table, {.ranks = ranks, .shares = {}, .kv_tokens = kTokens});
      for (int rank = 0; rank < ranks; ++rank) {
        numa::ArenaSource memory;
        const KvCache cache(spec, plan, table, rank, &memory, kTokens, 1);
        const uint64_t planned = plan.totals(rank).kv_bytes_per_token() * kTokens;
        // Cut by position, what is planned is an average: a rank may have a page of the cache more.
        const bool by_position = plan.mla_cache() == proto::ShardPlan::BY_POSITION;
        const uint64_t page =
            by_position ? 4 * KvCache::kPageTokens * kernels::KvRowBytes(GetParam(), 576) : 0;
        EXPECT_GE(cache.bytes() + page, planned) << "rank " << rank << " of " << ranks;
        EXPECT_LE(cache.bytes(), planned + page + kGranule) << "rank " << rank << " of " << ranks;
      }
    }
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
