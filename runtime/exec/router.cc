#include "runtime/exec/router.h"

#include <cmath>
#include <numeric>

namespace onecopy::exec {
namespace {

struct Choice {
  uint32_t expert;
  float weight;
};

// The k largest of probs[n], largest first.
void TopK(const float* probs, uint32_t n, uint32_t k, std::vector<Choice>* out) {
  out->clear();
  for (uint32_t e = 0; e < n; ++e) {
    const float p = std::isnan(probs[e]) ? -1.0f : probs[e];
    if (out->size() == k && p <= out->back().weight) continue;
    if (out->size() < k) out->push_back({});
    size_t i = out->size() - 1;
    for (; i > 0 && (*out)[i - 1].weight < p; --i) (*out)[i] = (*out)[i - 1];
    (*out)[i] = {e, p};
  }
}

}  // namespace

Routing RouteTopK(const proto::ModelSpec& spec, const kernels::KernelTable& table, float* scores,
                  size_t n_tokens) {
  const uint32_t n_experts = spec.n_experts(), k = spec.n_experts_used();
  std::vector<std::vector<Choice>> choices(n_tokens);
  std::vector<uint32_t> count(n_experts);
  for (size_t t = 0; t < n_tokens; ++t) {
    float* row = scores + t * n_experts;
    table.softmax(row, n_experts);
    TopK(row, n_experts, k, &choices[t]);
    float sum = 0;
    for (const Choice& c : choices[t]) sum += c.weight;
    for (Choice& c : choices[t]) {
      if (spec.norm_topk_prob()) c.weight /= sum;
      ++count[c.expert];
    }
  }

  Routing routing;
  std::vector<uint32_t> next(n_experts);
  uint32_t begin = 0;
  for (uint32_t e = 0; e < n_experts; ++e) {
    next[e] = begin;
    if (count[e] > 0) routing.groups.push_back({e, begin, begin + count[e]});
    begin += count[e];
  }
  routing.tokens.resize(begin);
  routing.weights.resize(begin);
  for (size_t t = 0; t < n_tokens; ++t) {
    for (const Choice& c : choices[t]) {
      routing.tokens[next[c.expert]] = static_cast<uint32_t>(t);
      routing.weights[next[c.expert]++] = c.weight;
    }
  }
  return routing;
}

Routing RouteAll(size_t n_tokens) {
  Routing routing;
  routing.groups.push_back({0, 0, static_cast<uint32_t>(n_tokens)});
  routing.tokens.resize(n_tokens);
  std::iota(routing.tokens.begin(), routing.tokens.end(), 0);
  routing.weights.assign(n_tokens, 1.0f);
  return routing;
}

}  // namespace onecopy::exec
