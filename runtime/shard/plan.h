// Shard plan: who owns what. A pure function of model, rank count and kernel table: every rank computes the
// same plan from the same spec, and a plan for a machine that is not there is as good as one for this
// machine.
//
// What is cut how is one table in plan_cut.cc (CutOf). Rules:
//   - quantised dimensions are cut at 32 columns (one column group); ranges of a dimension are contiguous,
//   ascend with
//     the rank, and may be uneven or empty, so any rank count works;
//   - gate and up by rows and down by the matching columns, per expert, so one all-reduce ends the layer's
//   FFN;
//   - a pipeline's stages (pipeline.h) divide the layers first; what follows is then among the ranks of a stage;
//   - what does not divide goes, unit by unit, to the rank with the fewest bytes in that phase of that layer,
//   then to
//     the one with the fewest bytes so far: loads differ by one unit within a layer and even out over layers;
//   - the token embedding, read one row a token, is dealt last, to fill up the ranks that have least.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "proto/model.pb.h"
#include "proto/plan.pb.h"

namespace onecopy::shard {

struct PlanOptions {
  int ranks = 1;
  // Relative share of each rank in all weights (e.g. its node's bandwidth); empty: even. One positive value a
  // rank.
  std::vector<double> shares;
  // A pipeline: bounds of the ranks of each stage, from 0 to `ranks`, ascending. Empty: one stage.
  std::vector<uint32_t> stage_ranks;
  // Positions that the KV cache is to hold: decides where the latent of multi-head latent attention lies.
  uint64_t kv_tokens = 4096;
};

inline constexpr int kMaxRanks = 1024;

// The latent cache is held by every rank while that costs at most this much a rank, since then no partial softmaxes
// need to be merged; beyond, it is cut by position, unless there is but one rank.
inline constexpr uint64_t kMaxReplicatedLatentBytes = 64ull << 20;
// Positions of a block of a latent cache that is cut by position: blocks go round the ranks of a stage.
inline constexpr uint32_t kMlaBlockPositions = 64;

// Errors: kUsage for ranks outside 1 … kMaxRanks, shares or stages that do not fit them, more stages than layers.
proto::ShardPlan MakeShardPlan(const proto::ModelSpec& spec, const kernels::KernelTable& table,
                               const PlanOptions& options);

// Half-open range of rows, columns, heads.
struct Range {
  uint32_t begin = 0;
  uint32_t end = 0;
  uint32_t size() const { return end - begin; }
};

// The part of weight `weight` (index into spec.weights), `expert` (0 … n_experts - 1 of that entry; 0 without
// experts) that `rank` owns, along the placement's axis. Replicated weights: all rows.
Range OwnedRange(const proto::ModelSpec& spec, const proto::ShardPlan& plan, int weight, uint32_t expert,
                 int rank);

// Query heads of `layer` that `rank` computes (with linear attention value heads), and the KV heads whose cache it
// therefore holds (none with multi-head latent attention, whose cache belongs to all heads, nor with linear attention).
Range OwnedHeads(const proto::ShardPlan& plan, uint32_t layer, int rank);
Range OwnedKvHeads(const proto::ModelSpec& spec, const proto::ShardPlan& plan, uint32_t layer, int rank);
// Key-value heads of a layer, and elements of a head's value, as model/model_spec.h has them.
uint32_t KvHeadsOf(const proto::ModelSpec& spec, uint32_t layer);
uint32_t ValueDim(const proto::ModelSpec& spec);

// What a sequence leaves behind in a layer of linear attention on `rank`; all 0 in other layers. Value head by value head
// [linear_key_head_dim][linear_value_head_dim], and the last linear_conv_kernel - 1 tokens' inputs of each channel.
struct LinearStateShape {
  Range value_heads;
  uint32_t q_channels = 0, k_channels = 0, v_channels = 0;  // that the rank computes
  uint64_t head_floats = 0, conv_floats = 0;                // of one head; of all channels
  uint32_t channels() const { return q_channels + k_channels + v_channels; }
  uint64_t floats() const { return value_heads.size() * head_floats + conv_floats; }
};
LinearStateShape StateShape(const proto::ModelSpec& spec, const proto::ShardPlan& plan, uint32_t layer,
                            int rank);

// How many of the first `positions` positions have their latents on `rank`: all of them unless they are cut by position.
uint64_t OwnedPositions(const proto::ShardPlan& plan, int rank, uint64_t positions);

// The packed shard of that weight (data is null): shape, layout, first column.
kernels::PackedMatrix ShardShape(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                                 const kernels::KernelTable& table, int weight, uint32_t expert, int rank);

// Bytes of all weight matrices of each type when one rank holds them, packed; by the type's name.
std::map<std::string, uint64_t> BytesByType(const proto::ModelSpec& spec, const kernels::KernelTable& table);
// Their sum: what one full copy takes.
uint64_t FullCopyBytes(const proto::ModelSpec& spec, const kernels::KernelTable& table);

}  // namespace onecopy::shard
