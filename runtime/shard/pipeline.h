// Stages of a pipeline: contiguous ranges of layers, each held by a contiguous range of ranks (in practice: of a host,
// or of some hosts), which divide those layers among themselves. One stage is plain tensor parallelism. The activations
// of a step go from stage to stage, so between stages only one message a step is sent in place of four exchanges a
// layer; for it, the stages of one sequence work one after another (Huang et al. 2019, GPipe, section 2). Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/model.pb.h"
#include "proto/plan.pb.h"
#include "runtime/shard/plan.h"

namespace onecopy::shard {

// Bounds of the layers of each stage, ascending from 0 to the number of layers, such that the stage with the most bytes
// for its share has as few as possible; every stage has a layer. shares: one a stage, above 0. Errors: kUsage for more
// stages than layers.
std::vector<uint32_t> DivideLayers(const proto::ModelSpec& spec, const std::vector<double>& shares);

inline int NumStages(const proto::ShardPlan& plan) {
  return plan.stage_ranks_size() - 1;
}
int StageOfRank(const proto::ShardPlan& plan, int rank);
int StageOfLayer(const proto::ShardPlan& plan, uint32_t layer);
inline Range RanksOfStage(const proto::ShardPlan& plan, int stage) {
  return {plan.stage_ranks(stage), plan.stage_ranks(stage + 1)};
}
inline Range LayersOfStage(const proto::ShardPlan& plan, int stage) {
  return {plan.stage_layers(stage), plan.stage_layers(stage + 1)};
}
// Who looks up a step's tokens: the first stage, or the last where the embedding is the lm_head as well, which is there.
int EmbeddingStage(const proto::ModelSpec& spec, int stages);

}  // namespace onecopy::shard
