// One layer of routed experts on one thread, as the decoder runs it: choice of experts from given scores, then gate, up
// and down of those chosen (runtime/exec/router.h, ffn.h). The shape that other engines' MoE kernels are measured with:
// hidden 2048, 128 experts of 768, top 8. Each iteration takes the next layer of a working set of more than a gigabyte,
// with scores of its own, so that weights come from memory as in a model.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "kernels/registry.h"
#include "runtime/exec/ffn.h"
#include "runtime/exec/router.h"
#include "runtime/shard/plan.h"
#include "tests/support/model_shapes.h"
#include "tests/unit/kernels/random_matrix.h"

namespace onecopy::exec {
namespace {

using kernels::WeightType;
using proto::Weight;

constexpr uint64_t kHidden = 2048, kInter = 768, kExperts = 128;
constexpr uint32_t kTopK = 8;
constexpr uint64_t kWorkingSet = 1200ull << 20;

proto::ModelSpec SpecOf(WeightType type, uint32_t layers) {
  test::SpecBuilder b(type);
  constexpr uint64_t kHeads = 4, kHeadDim = 64;
  b.spec.set_hidden_dim(kHidden);
  b.spec.set_n_layers(layers);
  b.spec.set_n_heads(kHeads);
  b.spec.set_n_kv_heads(kHeads);
  b.spec.set_head_dim(kHeadDim);
  b.spec.set_n_experts(kExperts);
  b.spec.set_n_experts_used(kTopK);
  b.spec.set_moe_intermediate_dim(kInter);
  b.spec.set_norm_topk_prob(true);
  b.spec.set_vocab_size(256);
  b.Matrix(Weight::TOKEN_EMBEDDING, 0, 256, kHidden);
  b.Matrix(Weight::LM_HEAD, 0, 256, kHidden);
  b.Vector(Weight::OUTPUT_NORM, 0, kHidden);
  for (uint32_t l = 0; l < layers; ++l) {
    b.Vector(Weight::ATTN_NORM, l, kHidden);
    for (const auto role : {Weight::ATTN_Q, Weight::ATTN_K, Weight::ATTN_V})
      b.Matrix(role, l, kHeads * kHeadDim, kHidden);
    b.Matrix(Weight::ATTN_O, l, kHidden, kHeads * kHeadDim);
    b.Vector(Weight::FFN_NORM, l, kHidden);
    b.Matrix(Weight::ROUTER, l, kExperts, kHidden, 0, WeightType::kF32);
    b.Matrix(Weight::EXPERT_GATE, l, kInter, kHidden, kExperts);
    b.Matrix(Weight::EXPERT_UP, l, kInter, kHidden, kExperts);
    b.Matrix(Weight::EXPERT_DOWN, l, kHidden, kInter, kExperts);
  }
  return b.spec;
}

// Layers of experts in memory; all of a shape have the same values, which cost the same as any.
class Layers {
 public:
  Layers(const kernels::KernelTable& table, WeightType type)
      : type(type),
        n_layers(static_cast<uint32_t>(kWorkingSet / LayerBytes(type)) + 1),
        spec(SpecOf(type, n_layers)),
        plan(shard::MakeShardPlan(spec, table, {.ranks = 1})),
        store(spec, plan, table, 0, &memory) {
    for (int w = 0; w < spec.weights_size(); ++w) {
      const Weight& weight = spec.weights(w);
      if (weight.n_experts() == 0) continue;
      const auto rows = static_cast<uint32_t>(weight.rows()), cols = static_cast<uint32_t>(weight.cols());
      const auto file = kernels::RandomMatrix(type, rows, cols, 1);
      const auto packed = kernels::Pack(file, store.Matrix(w, 0).row_tile, 0, cols);
      for (uint32_t e = 0; e < kExperts; ++e)
        std::memcpy(store.MatrixData(w, e), packed.bytes.get(), packed.bytes.size());
    }
  }
  static uint64_t LayerBytes(WeightType type) {
    return 3 * kExperts * kInter * kernels::RowBytes(kernels::Info(type), kHidden);
  }

  const WeightType type;
  const uint32_t n_layers;
  const proto::ModelSpec spec;
  const proto::ShardPlan plan;
  numa::ArenaSource memory;
  shard::WeightStore store;
};

// One at a time: each is more than a gigabyte.
const Layers& LayersOf(const kernels::KernelTable& table, WeightType type) {
  static std::unique_ptr<Layers> layers;
  static const kernels::KernelTable* of_table = nullptr;
  if (!layers || layers->type != type || of_table != &table) {
    layers.reset();
    layers = std::make_unique<Layers>(table, type);
    of_table = &table;
  }
  return *layers;
}

void MoeLayer(benchmark::State& state, const kernels::KernelTable& table, WeightType type, size_t n_tokens) {
  const Layers& layers = LayersOf(table, type);
  const ThreadTeam team(1);
  Ffn ffn(layers.spec, layers.store, table, team);
  const std::vector<float> x = kernels::RandomVector(n_tokens * kHidden, 2);
  constexpr size_t kDraws = 16;
  const std::vector<float> draws = kernels::RandomVector(kDraws * n_tokens * kExperts, 3);
  std::vector<float> scores(n_tokens * kExperts);
  std::vector<double> out(n_tokens * kHidden);
  Activations acts;
  Routing routing;
  uint64_t i = 0, experts = 0;
  for (auto _ : state) {
    std::copy_n(draws.begin() + static_cast<ptrdiff_t>(i % kDraws * scores.size()), scores.size(),
                scores.begin());
    acts.Set(x.data(), n_tokens, kHidden, kHidden);
    RouteTopK(layers.spec, table, team, {}, scores.data(), n_tokens, &routing);
    ffn.Run(Ffn::kExperts, static_cast<uint32_t>(i % layers.n_layers), routing, &acts, out.data(), kHidden);
    benchmark::DoNotOptimize(out.data());
    experts += routing.groups.size();
    ++i;
  }
  constexpr double kWeights = 3.0 * kInter * kHidden;
  const double bytes =
      static_cast<double>(Layers::LayerBytes(type)) / kExperts * static_cast<double>(experts);
  state.counters["B/s"] = benchmark::Counter(bytes, benchmark::Counter::kIsRate);
  state.counters["FLOP/s"] =
      benchmark::Counter(2.0 * kWeights * kTopK * static_cast<double>(n_tokens * state.iterations()),
                         benchmark::Counter::kIsRate);
}

// Before main(), which is google-benchmark's own.
const bool kRegistered = [] {
  for (const auto& entry : kernels::AllTables()) {
    if (!entry.supported() || std::string(entry.name) == "ref") continue;
    for (const WeightType type : {WeightType::kQ4_K, WeightType::kQ8_0}) {
      for (const size_t n_tokens : {1, 8, 64, 512}) {
        const std::string name = std::string("moe/") + entry.name + "/" + kernels::TypeName(type) +
                                 "/tokens:" + std::to_string(n_tokens);
        benchmark::RegisterBenchmark(name.c_str(), MoeLayer, entry.table(), type, n_tokens)
            ->Unit(benchmark::kMillisecond);
      }
    }
  }
  return true;
}();

}  // namespace
}  // namespace onecopy::exec
