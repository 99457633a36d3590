// The output gate of attention (Qwen3-Next): of each head the projection gives a query and, behind it, the logits of a gate
// that what the head attends to is multiplied by. Spread over the team.
#pragma once

#include <cstddef>

#include "runtime/exec/thread_team.h"

namespace onecopy::exec {

// both: [n][heads][2 * head_dim]; q, gates: [n][heads][head_dim], written.
void SplitGates(const ThreadTeam& team, size_t n, size_t heads, size_t head_dim, const float* both, float* q,
                float* gates);
// x *= sigmoid(gates); both [n][width].
void ApplyGates(const ThreadTeam& team, size_t n, size_t width, const float* gates, float* x);

}  // namespace onecopy::exec
