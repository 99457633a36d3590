// The two forms of multi-head latent attention (DeepSeek-V2, arXiv 2405.04434, section 2.1), and which of them a chunk of a
// prompt takes. Pure.
//   absorbed: a head's query is multiplied with the up-projection of the keys, and its weighted sum of latents with that
//             of the values; between them it attends to latents. For few tokens: nothing is made of a position.
//   expanded: keys and values of each head are made of the latents of all positions that the chunk sees, once for all of
//             its tokens; the head attends to these, which are shorter. For many tokens.
#pragma once

#include <cstdint>

#include "proto/model.pb.h"
#include "proto/plan.pb.h"

namespace onecopy::shard {

// Positions whose keys and values are there at once in the expanded form.
inline constexpr uint32_t kExpandedPositions = 512;

// `tokens` consecutive tokens of a sequence, the first of them at `position`.
struct Chunk {
  uint64_t tokens, position;
};

// Of one head in one layer, projections of latents, queries and sums included.
uint64_t AbsorbedMultiplyAdds(const proto::ModelSpec& spec, const Chunk& chunk);
uint64_t ExpandedMultiplyAdds(const proto::ModelSpec& spec, const Chunk& chunk);

// Whether the expanded form is the cheaper one. Never where latents are cut by position: no rank has them all.
bool IsExpanded(const proto::ModelSpec& spec, const proto::ShardPlan& plan, const Chunk& chunk);

// Of the expanded form on that rank, beside what the absorbed form has: keys and values of kExpandedPositions positions, their
// latents, and the keys' up-projection of a layer where it lies transposed.
uint64_t ExpandedBytes(const proto::ModelSpec& spec, const proto::ShardPlan& plan, int rank);

}  // namespace onecopy::shard
