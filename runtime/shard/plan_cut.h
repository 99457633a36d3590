// What is cut how: the table behind the shard plan. Private to the planner (plan.cc, plan_view.cc). Pure.
#pragma once

#include "kernels/kernels.h"
#include "proto/model.pb.h"
#include "proto/plan.pb.h"

namespace onecopy::shard {

// Phases of a layer: ranks wait for each other at the end of each.
enum class Phase { kAttention, kRouter, kFfn, kHead, kEmbedding };
// What one unit of a cut is, and how units are dealt.
enum class Unit {
  kNone,          // replicated
  kHeads,         // whole query heads, as many as make 32 columns of the output projection; evenly
  kLinearHeads,   // whole value heads of linear attention, likewise
  kRows,          // 32 rows, to the least loaded
  kChannels,      // rows of a convolution, as those of the matrix whose product it is over
  kRouterRows,    // single experts' rows (a row tile where quantised), to the least loaded
  kColumnGroups,  // 32 columns of the intermediate dimension, evenly
  kHiddenCols,    // 32 columns of a vector of the hidden size, evenly: what is added to a sum over ranks
  kVocabRows,     // 32 rows: lm_head evenly, embedding to the least loaded
};

struct Cut {
  Phase phase;
  proto::WeightPlacement::Axis axis;
  Unit unit;
};

// Everything that has no cut of its own (norms, biases of attention and router, sinks) is replicated.
Cut CutOf(proto::Weight::Role role);

inline kernels::WeightType TypeOf(const proto::Weight& weight) {
  return static_cast<kernels::WeightType>(weight.type());
}

// Rows that the table's packed layout of the weight's type keeps together.
inline uint32_t TileOf(const kernels::KernelTable& table, const proto::Weight& weight) {
  return table.weights[weight.type()].row_tile;
}

}  // namespace onecopy::shard
