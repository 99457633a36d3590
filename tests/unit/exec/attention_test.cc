// Attention over the paged cache against a plain float64 softmax.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "runtime/exec/attention_gqa.h"
#include "tests/support/kernel_table.h"
#include "tests/support/model_shapes.h"

namespace onecopy::exec {
namespace {

// window: of layer 0; 0: none.
proto::ModelSpec Model(uint32_t window) {
  proto::ModelSpec spec = test::SmallModel(kernels::WeightType::kQ8_0);
  if (window == 0) return spec;
  spec.set_sliding_window(window);
  spec.add_sliding_layers(0);
  return spec;
}

struct Rig {
  Rig(const kernels::KernelTable& kernel_table, int ranks, int rank, uint32_t tokens, uint32_t window = 0)
      : table(kernel_table),
        spec(Model(window)),
        plan(shard::MakeShardPlan(spec, table, {.ranks = ranks, .shares = {}})),
        heads(shard::OwnedHeads(plan, 0, rank)),
        cache(spec, plan, table, rank, &memory, tokens, 2) {}
  const kernels::KernelTable& table;
  const proto::ModelSpec spec;
  const proto::ShardPlan plan;
  const shard::Range heads;
  numa::ArenaSource memory;
  KvCache cache;
};

// Positions 0 … n - 1 in slot 1, the last `queries` of them ask; n crosses pages and chunks.
void ExpectSoftmax(int ranks, int rank, uint32_t n, uint32_t queries, int threads) {
  SCOPED_TRACE(std::to_string(ranks) + " ranks, rank " + std::to_string(rank) + ", " + std::to_string(n) +
               " tokens");
  Rig s(test::RefTable(), ranks, rank, n + 64);
  const size_t dim = s.spec.head_dim(), group = s.spec.n_heads() / s.spec.n_kv_heads();
  const shard::Range kv = s.cache.heads(0);
  std::mt19937 random(n);
  std::normal_distribution<float> normal;
  ASSERT_TRUE(s.cache.Grow(0, 10));  // another sequence has pages in between
  ASSERT_TRUE(s.cache.Grow(1, n));
  std::vector<float> k(kv.size() * n * dim), v(k.size());
  for (float& value : k) value = normal(random);
  for (float& value : v) value = normal(random);
  for (uint32_t h = 0; h < kv.size(); ++h) {
    for (uint32_t p = 0; p < n; ++p) {
      s.table.store_kv(&k[(h * n + p) * dim], dim, s.cache.Key(0, h, 1, p));
      s.table.store_kv(&v[(h * n + p) * dim], dim, s.cache.Value(0, h, 1, p));
    }
  }
  std::vector<float> q(queries * s.heads.size() * dim), out(q.size());
  for (float& value : q) value = 0.3f * normal(random);
  proto::Step step;
  step.set_prompt_tokens(queries > 8 ? queries : 0);
  for (uint32_t i = 0; i < queries; ++i) {
    step.add_tokens(0);
    step.add_slots(1);
    step.add_positions(n - queries + i);
  }
  const ThreadTeam team(threads);
  GqaAttention attention(s.spec, s.table, team);
  attention.Run(step, 0, s.cache, s.heads, q.data(), out.data());

  for (uint32_t i = 0; i < queries; ++i) {
    for (uint32_t h = 0; h < s.heads.size(); ++h) {
      const uint32_t kv_head = static_cast<uint32_t>((s.heads.begin + h) / group) - kv.begin;
      const float* query = &q[(i * s.heads.size() + h) * dim];
      const uint32_t seen = step.positions(static_cast<int>(i)) + 1;
      std::vector<double> weight(seen), want(dim);
      double sum = 0;
      for (uint32_t p = 0; p < seen; ++p) {
        double dot = 0;
        for (size_t d = 0; d < dim; ++d) dot += double{query[d]} * k[(kv_head * n + p) * dim + d];
        sum += weight[p] = std::exp(dot);
      }
      for (uint32_t p = 0; p < seen; ++p)
        for (size_t d = 0; d < dim; ++d) want[d] += weight[p] / sum * v[(kv_head * n + p) * dim + d];
      for (size_t d = 0; d < dim; ++d)
        ASSERT_NEAR(out[(i * s.heads.size() + h) * dim + d], want[d], 2e-5) << "query " << i << " head " << h;
    }
  }
}

TEST(GqaAttention, IsTheSoftmaxOverAllEarlierPositions) {
  for (uint32_t n : {1u, 63u, 64u, 65u, 513u, 1100u}) ExpectSoftmax(1, 0, n, 1, 2);
  ExpectSoftmax(1, 0, 700, 37, 2);
}

TEST(GqaAttention, RanksComputeTheirHeadsOnly) {
  for (int ranks : {2, 3, 8})
    for (int rank = 0; rank < ranks; ++rank)
      for (uint32_t queries : {3u, 11u}) ExpectSoftmax(ranks, rank, 130, queries, 1);  // one by one; a block
}

// Tokens that are verified, or decoded again, have the bits of as many steps.
TEST(GqaAttention, TokensAtOnceHaveTheBitsOfEachAlone) {
  constexpr uint32_t kPositions = 700, kFew = 20;
  for (const test::CacheCase& c : test::CacheCases()) {
    if (!c.entry->supported()) continue;
    SCOPED_TRACE(c.name());
    Rig s(c.table(), 1, 0, 1024);
    const size_t dim = s.spec.head_dim(), row = s.spec.n_heads() * dim;
    std::mt19937 random(4);
    std::normal_distribution<float> normal;
    ASSERT_TRUE(s.cache.Grow(0, kPositions));
    std::vector<float> values(dim), q(kFew * row), together(q.size()), alone(q.size());
    for (uint32_t h = 0; h < s.cache.heads(0).size(); ++h) {
      for (uint32_t p = 0; p < kPositions; ++p) {
        for (float& value : values) value = normal(random);
        s.table.store_kv(values.data(), dim, s.cache.Key(0, h, 0, p));
        s.table.store_kv(values.data(), dim, s.cache.Value(0, h, 0, p));
      }
    }
    for (float& value : q) value = 0.3f * normal(random);
    const ThreadTeam team(2);
    GqaAttention attention(s.spec, s.table, team);
    proto::Step all;
    for (uint32_t t = 0; t < kFew; ++t) {
      proto::Step one;
      for (proto::Step* step : {&one, &all}) {
        step->add_tokens(0);
        step->add_slots(0);
        step->add_positions(kPositions - kFew + t);
      }
      attention.Run(one, 0, s.cache, s.heads, &q[t * row], &alone[t * row]);
    }
    attention.Run(all, 0, s.cache, s.heads, q.data(), together.data());
    EXPECT_EQ(std::memcmp(together.data(), alone.data(), alone.size() * sizeof(float)), 0);
  }
}

// The attention of tokens at `positions` of a sequence of 1500, in steps of `per_step` tokens.
std::vector<float> Attend(const kernels::KernelTable& table, const std::vector<uint32_t>& positions,
                          size_t per_step, int threads, bool prefill, uint32_t window = 0) {
  Rig s(table, 1, 0, 2048, window);
  const size_t dim = s.spec.head_dim(), row_floats = 8 * dim;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  EXPECT_TRUE(s.cache.Grow(0, 1500));
  std::vector<float> row(dim);
  for (uint32_t h = 0; h < 2; ++h) {
    for (uint32_t p = 0; p < 1500; ++p) {
      for (float& value : row) value = normal(random);
      s.table.store_kv(row.data(), dim, s.cache.Key(0, h, 0, p));
      s.table.store_kv(row.data(), dim, s.cache.Value(0, h, 0, p));
    }
  }
  std::vector<float> q(positions.size() * row_floats), out(q.size());
  for (float& value : q) value = 0.3f * normal(random);
  const ThreadTeam team(threads);
  GqaAttention attention(s.spec, s.table, team);
  for (size_t begin = 0; begin < positions.size(); begin += per_step) {
    proto::Step step;
    if (prefill) step.set_prompt_tokens(static_cast<uint32_t>(std::min(positions.size() - begin, per_step)));
    for (size_t t = begin; t < std::min(positions.size(), begin + per_step); ++t) {
      step.add_tokens(0);
      step.add_slots(0);
      step.add_positions(positions[t]);
    }
    attention.Run(step, 0, s.cache, s.heads, &q[begin * row_floats], &out[begin * row_floats]);
  }
  return out;
}

void ExpectSameBits(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0);
}

class GqaAttentionOfTable : public ::testing::TestWithParam<test::CacheCase> {
 protected:
  void SetUp() override {
    const kernels::TableEntry& entry = *GetParam().entry;
    if (!entry.supported())
      GTEST_SKIP() << "table " << entry.name << " needs " << entry.requires_isa << ", absent here";
  }
  const kernels::KernelTable& table() const { return GetParam().table(); }
};

TEST_P(GqaAttentionOfTable, ThreadsDoNotChangeTheBitsOfDecodedTokens) {
  // 1 thread: a task goes through its chunks; 8 threads: a task is a chunk.
  const std::vector<uint32_t> apart = {3, 255, 700, 1023, 1490};
  ExpectSameBits(Attend(table(), apart, 5, 1, false), Attend(table(), apart, 5, 8, false));
}

// A prompt may be read in any pieces, on its own or beside others, or its beginning be known already.
TEST_P(GqaAttentionOfTable, ThreadsAndStepsDoNotChangeTheBitsOfAPrefill) {
  std::vector<uint32_t> run(4 * 37);
  for (uint32_t t = 0; t < run.size(); ++t) run[t] = 1300 + t;
  const std::vector<float> all = Attend(table(), run, run.size(), 1, true);
  ExpectSameBits(all, Attend(table(), run, run.size(), 5, true));
  for (const size_t per_step : {37, 5, 1}) ExpectSameBits(all, Attend(table(), run, per_step, 2, true));
}

TEST_P(GqaAttentionOfTable, ThreadsAndStepsDoNotChangeTheBitsOfAPrefillWithAWindow) {
  std::vector<uint32_t> positions;  // from the beginning, and far behind it
  for (uint32_t t = 0; t < 140; ++t) positions.push_back(t);
  for (uint32_t t = 0; t < 100; ++t) positions.push_back(1201 + t);
  for (const uint32_t window : {1, 3, 63, 64, 65, 128}) {
    SCOPED_TRACE(window);
    const std::vector<float> all = Attend(table(), positions, positions.size(), 1, true, window);
    ExpectSameBits(all, Attend(table(), positions, positions.size(), 5, true, window));
    for (const size_t per_step : {37, 1})
      ExpectSameBits(all, Attend(table(), positions, per_step, 2, true, window));
    const std::vector<float> singles = Attend(table(), positions, positions.size(), 2, false, window);
    for (size_t i = 0; i < all.size(); ++i) ASSERT_NEAR(all[i], singles[i], 1e-4) << i;
  }
}

// Ranks may have any number of a group's heads, three here; a block keeps the state of each of its rows.
TEST_P(GqaAttentionOfTable, SinksTakePartInBlocksAsInSingles) {
  constexpr uint32_t kTokens = 600;
  for (const uint32_t window : {0, 70}) {
    Rig s(table(), 3, 0, 640, window);
    ASSERT_EQ(s.heads.size(), 3u);
    const size_t dim = s.spec.head_dim(), row_floats = s.heads.size() * dim;
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    ASSERT_TRUE(s.cache.Grow(0, kTokens));
    std::vector<float> row(dim), q(kTokens * row_floats), sinks(8);
    for (uint32_t p = 0; p < kTokens; ++p) {
      for (float& value : row) value = normal(random);
      s.table.store_kv(row.data(), dim, s.cache.Key(0, 0, 0, p));
      s.table.store_kv(row.data(), dim, s.cache.Value(0, 0, 0, p));
    }
    for (float& value : q) value = 0.3f * normal(random);
    for (float& value : sinks) value = 2 * normal(random);
    const ThreadTeam team(2);
    GqaAttention attention(s.spec, s.table, team);
    std::vector<float> out[2];
    for (const bool prefill : {false, true}) {
      proto::Step step;
      step.set_prompt_tokens(prefill ? kTokens : 0);
      for (uint32_t t = 0; t < kTokens; ++t) {
        step.add_tokens(0);
        step.add_slots(0);
        step.add_positions(t);
      }
      out[prefill].resize(q.size());
      attention.Run(step, 0, s.cache, s.heads, q.data(), out[prefill].data(), sinks);
    }
    for (size_t i = 0; i < q.size(); ++i) ASSERT_NEAR(out[1][i], out[0][i], 1e-4) << window << " " << i;
  }
}

// Tokens of different places in one step: each is what it is alone.
TEST_P(GqaAttentionOfTable, PlacesShareAStep) {
  const std::vector<uint32_t> mixed = {40, 41, 42, 900, 5, 6, 1200};
  for (const bool prefill : {false, true})
    ExpectSameBits(Attend(table(), mixed, mixed.size(), 3, prefill), Attend(table(), mixed, 1, 1, prefill));
  const std::vector<float> blocks = Attend(table(), mixed, mixed.size(), 3, true),
                           singles = Attend(table(), mixed, mixed.size(), 3, false);
  for (size_t i = 0; i < blocks.size(); ++i) ASSERT_NEAR(blocks[i], singles[i], 1e-4) << i;
}

INSTANTIATE_TEST_SUITE_P(Tables, GqaAttentionOfTable, ::testing::ValuesIn(test::CacheCases()),
                         [](const auto& info) { return info.param.name(); });

}  // namespace
}  // namespace onecopy::exec
