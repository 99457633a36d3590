#include "runtime/exec/output_gate.h"

#include <algorithm>
#include <cmath>

namespace onecopy::exec {

void SplitGates(const ThreadTeam& team, size_t n, size_t heads, size_t head_dim, const float* both, float* q,
                float* gates) {
  team.For(n, [&](size_t t, int) {
    for (size_t h = t * heads; h < (t + 1) * heads; ++h) {
      std::copy_n(both + 2 * h * head_dim, head_dim, q + h * head_dim);
      std::copy_n(both + (2 * h + 1) * head_dim, head_dim, gates + h * head_dim);
    }
  });
}

void ApplyGates(const ThreadTeam& team, size_t n, size_t width, const float* gates, float* x) {
  team.For(n, [&](size_t t, int) {
    for (size_t i = t * width; i < (t + 1) * width; ++i) x[i] /= 1.0f + std::exp(-gates[i]);
  });
}

}  // namespace onecopy::exec
