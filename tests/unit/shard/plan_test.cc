#include "runtime/shard/plan.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <random>

#include "kernels/registry.h"
#include "runtime/base/error.h"
#include "runtime/model/model_spec.h"
#include "tests/support/kernel_table.h"
#include "tests/support/model_shapes.h"
#include "tests/support/processor_time.h"
#include "tests/support/sparse_model.h"

namespace onecopy::shard {
namespace {

using kernels::WeightType;
using test::Shapes;

const kernels::KernelTable& Table(const std::string& name) {
  std::string error;
  const kernels::KernelTable* table = kernels::SelectTable(name, &error);
  EXPECT_NE(table, nullptr) << error;
  return *table;
}

// Every element of every weight is in the ranges of exactly one rank, at 32-column edges.
void ExpectOwnedOnce(const proto::ModelSpec& spec, const proto::ShardPlan& plan) {
  const int ranks = static_cast<int>(plan.ranks());
  for (int w = 0; w < spec.weights_size(); ++w) {
    const proto::Weight& weight = spec.weights(w);
    if (plan.placements(w).axis() == proto::WeightPlacement::REPLICATED) {
      EXPECT_LE(weight.rows() * weight.cols(), uint64_t{spec.n_heads()} * 256 + spec.hidden_dim())
          << weight.name();
      EXPECT_EQ(weight.rows(), 1u) << weight.name() << ": only vectors are replicated";
      continue;
    }
    const bool by_cols = plan.placements(w).axis() == proto::WeightPlacement::COLS;
    const uint64_t size = by_cols ? weight.cols() : weight.rows();
    for (uint32_t e = 0; e < std::max(1u, weight.n_experts()); ++e) {
      uint64_t next = 0;
      for (int r = 0; r < ranks; ++r) {
        const Range range = OwnedRange(spec, plan, w, e, r);
        ASSERT_EQ(range.begin, next) << weight.name() << " expert " << e << " rank " << r;
        if (by_cols && range.end != size) {
          ASSERT_EQ(range.end % 32, 0u) << weight.name() << " rank " << r;
        }
        next = range.end;
      }
      ASSERT_EQ(next, size) << weight.name() << " expert " << e;
    }
  }
}

double MostLoadedOverMean(const proto::ShardPlan& plan) {
  double most = 0, sum = 0;
  for (const auto& totals : plan.totals()) {
    most = std::max(most, static_cast<double>(totals.weight_bytes()));
    sum += static_cast<double>(totals.weight_bytes());
  }
  return most * plan.ranks() / sum;
}

// Mean over random routings, and over layers, of (most loaded rank) / (mean rank) in a layer's active experts.
double ActiveImbalance(const proto::ModelSpec& spec, const proto::ShardPlan& plan) {
  const int ranks = static_cast<int>(plan.ranks());
  std::mt19937 random(7);
  double sum = 0;
  int n = 0;
  for (int w = 0; w < spec.weights_size(); ++w) {
    const proto::Weight& weight = spec.weights(w);
    if (weight.role() != proto::Weight::EXPERT_DOWN || weight.layer() % 8 != 0) continue;
    std::vector<uint32_t> experts(weight.n_experts());
    std::iota(experts.begin(), experts.end(), 0);
    for (int routing = 0; routing < 50; ++routing, ++n) {
      std::shuffle(experts.begin(), experts.end(), random);
      std::vector<double> load(ranks);
      for (uint32_t k = 0; k < spec.n_experts_used(); ++k)
        for (int r = 0; r < ranks; ++r) load[r] += OwnedRange(spec, plan, w, experts[k], r).size();
      const double mean = std::accumulate(load.begin(), load.end(), 0.0) / ranks;
      sum += *std::max_element(load.begin(), load.end()) / mean;
    }
  }
  return sum / n;
}

class PublishedShapes : public ::testing::TestWithParam<std::tuple<const char*, int>> {};

TEST_P(PublishedShapes, AreOwnedOnceAndBalanced) {
  const auto [name, ranks] = GetParam();
  const proto::ModelSpec spec = Shapes(ONECOPY_TEST_DATA "/model-shapes.json", name, WeightType::kQ4_K);
  const proto::ShardPlan plan = MakeShardPlan(spec, test::AnyTable(), {.ranks = ranks, .shares = {}});
  ExpectOwnedOnce(spec, plan);
  EXPECT_LE(MostLoadedOverMean(plan), 1.02);
  const double imbalance = ActiveImbalance(spec, plan);
  EXPECT_LE(imbalance, 1.15);
  RecordProperty("most_loaded_over_mean", std::to_string(MostLoadedOverMean(plan)));
  RecordProperty("active_imbalance", std::to_string(imbalance));
  uint64_t sum = 0;
  for (const auto& totals : plan.totals()) sum += totals.weight_bytes() - totals.split_header_bytes();
  EXPECT_EQ(sum, FullCopyBytes(spec, test::AnyTable())) << "one copy, apart from headers copied at cuts";
}

INSTANTIATE_TEST_SUITE_P(All, PublishedShapes,
                         ::testing::Combine(::testing::Values("Qwen3-30B-A3B", "Qwen3-235B-A22B",
                                                              "DeepSeek-V3", "Kimi-K2", "Mixtral-8x7B"),
                                            ::testing::Values(1, 2, 3, 4, 6, 8, 12, 24)));

TEST(Plan, LinearAttentionIsOwnedOnceWithItsState) {
  const proto::ModelSpec spec = test::HybridModel();
  constexpr uint64_t kChannels = 2 * 6 * 64 + 12 * 96, kLinearLayers = 3;
  constexpr uint64_t kState = kLinearLayers * (12 * 64 * 96 + 3 * kChannels) * sizeof(float);
  for (const int ranks : {1, 2, 3, 5, 12, 24}) {
    SCOPED_TRACE(std::to_string(ranks) + " ranks");
    const proto::ShardPlan plan = MakeShardPlan(spec, test::AnyTable(), {.ranks = ranks, .shares = {}});
    ExpectOwnedOnce(spec, plan);
    uint64_t state = 0;
    for (int r = 0; r < ranks; ++r) {
      state += plan.totals(r).state_bytes_per_sequence();
      EXPECT_EQ(OwnedKvHeads(spec, plan, 0, r).size(), 0u);
      // Each channel is convolved where it is computed, and a value head is whole.
      for (int w = 0; w < spec.weights_size(); ++w) {
        const proto::Weight& weight = spec.weights(w);
        const Range range = plan.placements(w).axis() == proto::WeightPlacement::REPLICATED
                                ? Range{}
                                : OwnedRange(spec, plan, w, 0, r);
        const auto like = [&](proto::Weight::Role role) {
          for (int m = 0; m < spec.weights_size(); ++m)
            if (spec.weights(m).role() == role && spec.weights(m).layer() == weight.layer())
              return OwnedRange(spec, plan, m, 0, r);
          return Range{};
        };
        if (weight.role() == proto::Weight::LINEAR_CONV_Q) {
          EXPECT_EQ(range.begin, like(proto::Weight::LINEAR_Q).begin);
          EXPECT_EQ(range.end, like(proto::Weight::LINEAR_Q).end);
        }
        if (weight.role() == proto::Weight::LINEAR_O || weight.role() == proto::Weight::LINEAR_Z) {
          EXPECT_EQ(range.begin, OwnedHeads(plan, weight.layer(), r).begin * 96);
          EXPECT_EQ(range.end, OwnedHeads(plan, weight.layer(), r).end * 96);
        }
      }
    }
    EXPECT_EQ(state, kState);
    uint64_t kv = 0;
    for (const auto& totals : plan.totals()) kv += totals.kv_bytes_per_token();
    EXPECT_GE(kv, 2u * kernels::KvRowBytes(test::AnyTable().kv_type, 64));
  }
}

// From the headers of a file as published, with its mix of types and the forms of newer GGUF files.
class PublishedFiles : public ::testing::TestWithParam<const char*> {
 protected:
  static proto::ModelSpec Spec() {
    const std::string path = ::testing::TempDir() + "onecopy-plan-" + GetParam() + ".gguf";
    EXPECT_TRUE(test::WriteModelHeaders(GetParam(), path));
    proto::ModelSpec spec = BuildModelSpec(OpenCheckpoint(path, Data::kMayBeAbsent));
    std::remove(path.c_str());
    return spec;
  }
};

TEST_P(PublishedFiles, AreOwnedOnceAndBalancedOnEveryTable) {
  const proto::ModelSpec spec = Spec();
  for (const char* table : {"", "ref"}) {
    uint64_t one_copy = FullCopyBytes(spec, Table(table));
    for (const int ranks : {1, 2, 3, 8, 24}) {
      const proto::ShardPlan plan = MakeShardPlan(spec, Table(table), {.ranks = ranks, .shares = {}});
      ExpectOwnedOnce(spec, plan);
      EXPECT_LE(MostLoadedOverMean(plan), 1.02) << ranks;
      EXPECT_LE(ActiveImbalance(spec, plan), 1.15) << ranks;
      uint64_t sum = 0;
      for (const auto& totals : plan.totals()) sum += totals.weight_bytes() - totals.split_header_bytes();
      EXPECT_EQ(sum, one_copy) << ranks;
      EXPECT_LT(plan.replicated_bytes(), 6ull << 20) << "norms, biases of attention and router, sinks";
    }
  }
}

// A head's part of every matrix lies on the rank that computes the head.
TEST_P(PublishedFiles, WeightsOfAHeadAreTogether) {
  const proto::ModelSpec spec = Spec();
  const proto::ShardPlan plan = MakeShardPlan(spec, test::AnyTable(), {.ranks = 24, .shares = {}});
  const uint32_t v_dim = spec.v_head_dim() > 0 ? spec.v_head_dim() : spec.head_dim();
  const std::map<proto::Weight::Role, uint32_t> per_head = {
      {proto::Weight::ATTN_Q, spec.head_dim()},
      {proto::Weight::ATTN_Q_B, spec.head_dim()},
      {proto::Weight::ATTN_K_B, spec.kv_lora_rank()},
      {proto::Weight::ATTN_V_B, v_dim},
      {proto::Weight::ATTN_KV_B, spec.qk_nope_head_dim() + v_dim},
      {proto::Weight::ATTN_O, v_dim}};
  int checked = 0;
  for (int w = 0; w < spec.weights_size(); ++w) {
    const proto::Weight& weight = spec.weights(w);
    const auto found = per_head.find(weight.role());
    if (found == per_head.end()) continue;
    ++checked;
    for (int r = 0; r < 24; ++r) {
      const Range heads = OwnedHeads(plan, weight.layer(), r), range = OwnedRange(spec, plan, w, 0, r);
      ASSERT_EQ(range.begin, heads.begin * found->second) << weight.name() << " rank " << r;
      ASSERT_EQ(range.end, heads.end * found->second) << weight.name() << " rank " << r;
    }
  }
  EXPECT_GE(checked, 2 * static_cast<int>(spec.n_layers()));
}

INSTANTIATE_TEST_SUITE_P(All, PublishedFiles,
                         ::testing::Values("DeepSeek-V3", "Kimi-K2", "gpt-oss-120b", "Qwen3-235B-A22B"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::erase_if(
                               name, [](char c) { return std::isalnum(static_cast<unsigned char>(c)) == 0; });
                           return name;
                         });

// The columns of an expert that a rank has are those whose biases it has.
TEST(ShardPlan, BiasesOfAnExpertFollowItsRows) {
  const proto::ModelSpec spec =
      Shapes(ONECOPY_TEST_DATA "/model-shapes.json", "gpt-oss-120b", WeightType::kMXFP4);
  const proto::ShardPlan plan = MakeShardPlan(spec, test::AnyTable(), {.ranks = 7, .shares = {}});
  std::map<std::pair<int, uint32_t>, int> index;
  for (int w = 0; w < spec.weights_size(); ++w) index[{spec.weights(w).role(), spec.weights(w).layer()}] = w;
  for (const auto& [bias, matrix] : {std::pair{proto::Weight::EXPERT_GATE_BIAS, proto::Weight::EXPERT_GATE},
                                     std::pair{proto::Weight::EXPERT_UP_BIAS, proto::Weight::EXPERT_UP}}) {
    for (uint32_t layer = 0; layer < spec.n_layers(); ++layer)
      for (uint32_t e = 0; e < spec.n_experts(); ++e)
        for (int r = 0; r < 7; ++r) {
          const Range of_bias = OwnedRange(spec, plan, index.at({bias, layer}), e, r);
          const Range of_rows = OwnedRange(spec, plan, index.at({matrix, layer}), e, r);
          ASSERT_EQ(of_bias.begin, of_rows.begin) << "layer " << layer << " expert " << e << " rank " << r;
          ASSERT_EQ(of_bias.end, of_rows.end) << "layer " << layer << " expert " << e << " rank " << r;
        }
  }
}

proto::ModelSpec DeepseekV3() {
  return Shapes(ONECOPY_TEST_DATA "/model-shapes.json", "DeepSeek-V3", WeightType::kQ4_K);
}
// 61 layers of 512 + 64 values.
uint64_t LatentBytes(const kernels::KernelTable& table) {
  return 61ull * kernels::KvRowBytes(table.kv_type, 576);
}

TEST(MlaCache, IsHeldByEveryRankWhileThatIsAtMost64MiB) {
  const proto::ModelSpec spec = DeepseekV3();
  for (const char* name : {"", "ref"}) {
    const uint64_t latent = LatentBytes(Table(name)), most = (64ull << 20) / latent;
    for (const auto& [tokens, cache, per_token] :
         {std::tuple{most, proto::ShardPlan::REPLICATED, latent},
          std::tuple{most + 1, proto::ShardPlan::BY_POSITION, (latent + 23) / 24},
          std::tuple{uint64_t{0}, proto::ShardPlan::REPLICATED, latent},
          std::tuple{UINT64_MAX, proto::ShardPlan::BY_POSITION, (latent + 23) / 24}}) {
      const auto plan = MakeShardPlan(spec, Table(name), {.ranks = 24, .shares = {}, .kv_tokens = tokens});
      EXPECT_EQ(plan.mla_cache(), cache) << tokens;
      for (const auto& totals : plan.totals()) EXPECT_EQ(totals.kv_bytes_per_token(), per_token) << tokens;
    }
  }
}

TEST(MlaCache, OneRankHoldsAllOfIt) {
  const auto plan =
      MakeShardPlan(DeepseekV3(), test::AnyTable(), {.ranks = 1, .shares = {}, .kv_tokens = 1 << 20});
  EXPECT_EQ(plan.mla_cache(), proto::ShardPlan::REPLICATED);
  EXPECT_EQ(plan.totals(0).kv_bytes_per_token(), LatentBytes(test::AnyTable()));
  EXPECT_EQ(OwnedPositions(plan, 0, 100'000), 100'000u);
}

TEST(MlaCache, BlocksOf64PositionsGoRoundTheRanks) {
  const auto plan =
      MakeShardPlan(DeepseekV3(), test::AnyTable(), {.ranks = 3, .shares = {}, .kv_tokens = 1 << 20});
  ASSERT_EQ(plan.mla_cache(), proto::ShardPlan::BY_POSITION);
  uint64_t owned[3] = {};
  for (uint64_t position = 0; position < 1000; ++position) {
    for (int r = 0; r < 3; ++r) ASSERT_EQ(OwnedPositions(plan, r, position), owned[r]) << position;
    ++owned[position / kMlaBlockPositions % 3];
  }
}

TEST(MlaCache, ThereAreNoKvHeadsWithALatentAndNoLatentWithoutOne) {
  const proto::ModelSpec mla = DeepseekV3();
  const auto plan = MakeShardPlan(mla, test::AnyTable(), {.ranks = 4, .shares = {}});
  for (int r = 0; r < 4; ++r) EXPECT_EQ(OwnedKvHeads(mla, plan, 5, r).size(), 0u);
  const auto gqa =
      MakeShardPlan(test::SmallModel(WeightType::kQ8_0), test::AnyTable(), {.ranks = 4, .shares = {}});
  EXPECT_EQ(gqa.mla_cache(), proto::ShardPlan::NONE);
  EXPECT_EQ(OwnedPositions(gqa, 3, 77), 77u);
}

// Planning is part of starting up, and of `plan`, which people run to try numbers of nodes.
TEST(ShardPlan, ADirectoryOf45000TensorsIsPlannedInASecond) {
  const std::string path = ::testing::TempDir() + "onecopy-plan-hf";
  ASSERT_TRUE(test::WriteModelHeaders("DeepSeek-V3", path, "--hf"));
  proto::ModelSpec spec;
  proto::ShardPlan plan;
  const double seconds = test::ThreadSeconds([&] {
    spec = BuildModelSpec(OpenCheckpoint(path, Data::kMayBeAbsent));
    plan = MakeShardPlan(spec, test::AnyTable(), {.ranks = 24, .shares = {}});
  });
  std::filesystem::remove_all(path);
  EXPECT_GT(spec.weights_size(), 45'000);
  EXPECT_EQ(plan.placements_size(), spec.weights_size());
  RecordProperty("seconds", std::to_string(seconds));
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  EXPECT_LT(seconds, 10.0);
#else
  EXPECT_LT(seconds, 3.0);  // a second on a free machine
#endif
}

TEST(ShardPlan, AnyRankCountFrom1To64WorksForASmallModel) {
  // 8 heads, 2 KV heads and 16 column groups: fewer than ranks.
  const proto::ModelSpec spec = test::SmallModel(WeightType::kQ8_0);
  for (int ranks = 1; ranks <= 64; ++ranks) {
    const proto::ShardPlan plan = MakeShardPlan(spec, test::AnyTable(), {.ranks = ranks, .shares = {}});
    ExpectOwnedOnce(spec, plan);
    for (uint32_t l = 0; l < spec.n_layers(); ++l)
      for (int r = 0; r < ranks; ++r)
        ASSERT_EQ(OwnedHeads(plan, l, r).size() > 0, OwnedKvHeads(spec, plan, l, r).size() > 0);
  }
}

TEST(ShardPlan, IsAPureFunction) {
  const proto::ModelSpec spec = test::SmallModel(WeightType::kQ4_K);
  const auto a = MakeShardPlan(spec, test::AnyTable(), {.ranks = 5, .shares = {}});
  const auto b = MakeShardPlan(spec, test::AnyTable(), {.ranks = 5, .shares = {}});
  EXPECT_EQ(a.SerializeAsString(), b.SerializeAsString());
}

TEST(ShardPlan, SharesWeighTheRanks) {
  const proto::ModelSpec spec =
      Shapes(ONECOPY_TEST_DATA "/model-shapes.json", "Qwen3-30B-A3B", WeightType::kQ8_0);
  const proto::ShardPlan plan = MakeShardPlan(spec, test::AnyTable(), {.ranks = 3, .shares = {2, 1, 1}});
  ExpectOwnedOnce(spec, plan);
  const double total = static_cast<double>(plan.weight_bytes());
  EXPECT_NEAR(static_cast<double>(plan.totals(0).weight_bytes()) / total, 0.5, 0.01);
  EXPECT_NEAR(static_cast<double>(plan.totals(2).weight_bytes()) / total, 0.25, 0.01);
}

TEST(ShardPlan, NoRanksIsAUsageError) {
  EXPECT_THROW(
      MakeShardPlan(test::SmallModel(WeightType::kF32), test::AnyTable(), {.ranks = 0, .shares = {}}), Error);
}

}  // namespace
}  // namespace onecopy::shard
