#include "runtime/shard/pipeline.h"

#include <algorithm>
#include <limits>

#include "kernels/types.h"
#include "runtime/base/check.h"
#include "runtime/shard/plan_cut.h"

namespace onecopy::shard {
namespace {

struct LayerBytes {
  std::vector<double> layers;
  double first = 0, last = 0;  // beside the layers of the first and of the last stage
};

LayerBytes BytesOf(const proto::ModelSpec& spec, int stages) {
  LayerBytes bytes;
  bytes.layers.resize(spec.n_layers());
  for (const proto::Weight& weight : spec.weights()) {
    const Cut cut = CutOf(weight.role());
    if (cut.unit == Unit::kNone) continue;
    const kernels::TypeInfo& info = kernels::Info(TypeOf(weight));
    const double size = static_cast<double>(weight.rows()) * static_cast<double>(weight.cols()) *
                        std::max(1u, weight.n_experts()) * info.block_bytes / info.block_cols;
    if (cut.phase == Phase::kHead || (cut.phase == Phase::kEmbedding && EmbeddingStage(spec, stages) > 0))
      bytes.last += size;
    else if (cut.phase == Phase::kEmbedding)
      bytes.first += size;
    else
      bytes.layers[weight.layer()] += size;
  }
  return bytes;
}

}  // namespace

// Dynamic programming over (stages so far, layers so far): the smallest possible load of the fullest stage.
std::vector<uint32_t> DivideLayers(const proto::ModelSpec& spec, const std::vector<double>& shares) {
  const auto stages = static_cast<int>(shares.size());
  const uint32_t n = spec.n_layers();
  ONECOPY_CHECK(stages >= 1);
  if (static_cast<uint32_t>(stages) > n)
    Fail(ErrorCode::kUsage, "a pipeline of {} stages needs as many layers, and the model has {}", stages, n);
  const LayerBytes bytes = BytesOf(spec, stages);
  std::vector<double> before(n + 1);
  for (uint32_t l = 0; l < n; ++l) before[l + 1] = before[l] + bytes.layers[l];
  const auto load = [&](int stage, uint32_t begin, uint32_t end) {
    double size = before[end] - before[begin];
    if (stage == 0) size += bytes.first;
    if (stage == stages - 1) size += bytes.last;
    return size / shares[stage];
  };
  constexpr double kNever = std::numeric_limits<double>::infinity();
  std::vector<std::vector<double>> best(stages + 1, std::vector<double>(n + 1, kNever));
  std::vector<std::vector<uint32_t>> begin_of(stages + 1, std::vector<uint32_t>(n + 1));
  best[0][0] = 0;
  for (int s = 0; s < stages; ++s) {
    for (uint32_t end = static_cast<uint32_t>(s) + 1; end <= n; ++end) {
      for (uint32_t begin = static_cast<uint32_t>(s); begin < end; ++begin) {
        const double fullest = std::max(best[s][begin], load(s, begin, end));
        if (fullest >= best[s + 1][end]) continue;
        best[s + 1][end] = fullest;
        begin_of[s + 1][end] = begin;
      }
    }
  }
  std::vector<uint32_t> bounds(stages + 1, n);
  for (int s = stages; s > 0; --s) bounds[s - 1] = begin_of[s][bounds[s]];
  return bounds;
}

int StageOfRank(const proto::ShardPlan& plan, int rank) {
  const auto& bounds = plan.stage_ranks();
  return static_cast<int>(std::upper_bound(bounds.begin(), bounds.end(), static_cast<uint32_t>(rank)) -
                          bounds.begin()) -
         1;
}

int StageOfLayer(const proto::ShardPlan& plan, uint32_t layer) {
  const auto& bounds = plan.stage_layers();
  return static_cast<int>(std::upper_bound(bounds.begin(), bounds.end(), layer) - bounds.begin()) - 1;
}

int EmbeddingStage(const proto::ModelSpec& spec, int stages) {
  return spec.tied_embeddings() ? stages - 1 : 0;
}

}  // namespace onecopy::shard
