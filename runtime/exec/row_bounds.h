// How the ranks of a stage divide the rows (or columns) of one weight. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/model.pb.h"
#include "proto/plan.pb.h"

namespace onecopy::exec {

// Bounds by rank of the stage, ascending from 0 to the weight's size, of the spec's weight of that role and layer, which
// must be there and not replicated.
std::vector<uint32_t> RowBounds(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                                proto::Weight::Role role, uint32_t layer, int stage);

}  // namespace onecopy::exec
