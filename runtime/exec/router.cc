#include "runtime/exec/router.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/base/check.h"

namespace onecopy::exec {
namespace {

// The k largest of probs[n], largest first; k <= n.
void TopK(const float* probs, uint32_t n, uint32_t k, Routing::Choice* out) {
  uint32_t found = 0;
  for (uint32_t e = 0; e < n; ++e) {
    const float p = std::isnan(probs[e]) ? -1.0f : probs[e];
    if (found == k && p <= out[k - 1].weight) continue;
    if (found < k) ++found;
    uint32_t i = found - 1;
    for (; i > 0 && out[i - 1].weight < p; --i) out[i] = out[i - 1];
    out[i] = {e, p};
  }
}

}  // namespace

void RouteTopK(const proto::ModelSpec& spec, const kernels::KernelTable& table, const ThreadTeam& team,
               float* scores, size_t n_tokens, Routing* routing) {
  const uint32_t n_experts = spec.n_experts(), k = std::min(spec.n_experts_used(), n_experts);
  auto& choices = routing->choices;
  choices.resize(n_tokens * k);
  constexpr size_t kTokensPerTask = 16;
  team.For(DivUp(n_tokens, kTokensPerTask), [&](size_t task, int) {
    const size_t end = std::min(n_tokens, (task + 1) * kTokensPerTask);
    for (size_t t = task * kTokensPerTask; t < end; ++t) {
      float* row = scores + t * n_experts;
      table.softmax(row, n_experts);
      Routing::Choice* chosen = choices.data() + t * k;
      TopK(row, n_experts, k, chosen);
      if (!spec.norm_topk_prob()) continue;
      float sum = 0;
      for (uint32_t i = 0; i < k; ++i) sum += chosen[i].weight;
      for (uint32_t i = 0; i < k; ++i) chosen[i].weight /= sum;
    }
  });

  auto& next = routing->next;
  next.assign(n_experts, 0);
  for (const Routing::Choice& c : choices) ++next[c.expert];
  routing->groups.clear();
  uint32_t begin = 0;
  for (uint32_t e = 0; e < n_experts; ++e) {
    const uint32_t count = next[e];
    next[e] = begin;
    if (count > 0) routing->groups.push_back({e, begin, begin + count});
    begin += count;
  }
  routing->tokens.resize(begin);
  routing->weights.resize(begin);
  for (size_t i = 0; i < choices.size(); ++i) {
    const uint32_t entry = next[choices[i].expert]++;
    routing->tokens[entry] = static_cast<uint32_t>(i / k);
    routing->weights[entry] = choices[i].weight;
  }
}

void RouteAll(size_t n_tokens, Routing* routing) {
  routing->groups.assign(1, {0, 0, static_cast<uint32_t>(n_tokens)});
  routing->tokens.resize(n_tokens);
  std::iota(routing->tokens.begin(), routing->tokens.end(), 0);
  routing->weights.assign(n_tokens, 1.0f);
}

}  // namespace onecopy::exec
