#include "runtime/exec/router.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "runtime/base/check.h"

namespace onecopy::exec {
namespace {

// The k best of the scores that are added, best first; of equals the one that was added first.
class Best {
 public:
  Best(uint32_t k, Routing::Choice* out) : k_(k), out_(out) {}

  void Add(uint32_t index, float score) {
    if (std::isnan(score)) score = -std::numeric_limits<float>::infinity();
    if (found_ == k_ && score <= out_[k_ - 1].weight) return;
    if (found_ < k_) ++found_;
    uint32_t i = found_ - 1;
    for (; i > 0 && out_[i - 1].weight < score; --i) out_[i] = out_[i - 1];
    out_[i] = {index, score};
  }

 private:
  const uint32_t k_;
  Routing::Choice* const out_;
  uint32_t found_ = 0;
};

// Sigmoid scores may all be zero.
constexpr float kLeastSum = 1e-20f;

float Sigmoid(float x) {
  return 1.0f / (1.0f + std::exp(-x));
}

// Chooses the experts of one token; their weights are the scores that they were chosen by.
class Chooser {
 public:
  Chooser(const proto::ModelSpec& spec, std::span<const float> bias)
      : spec_(spec), bias_(bias), k_(std::min(spec.n_experts_used(), spec.n_experts())) {}

  // scores: [n_experts]; groups: room for topk_group choices, where there are groups.
  void Choose(const float* scores, Routing::Choice* groups, Routing::Choice* out) const {
    Best best(k_, out);
    const uint32_t n_group = spec_.n_group(), n_experts = spec_.n_experts();
    if (n_group <= 1) {
      for (uint32_t e = 0; e < n_experts; ++e) best.Add(e, ScoreOf(scores, e));
      return;
    }
    const uint32_t per_group = n_experts / n_group, n_chosen = spec_.topk_group();
    Best best_groups(n_chosen, groups);
    for (uint32_t g = 0; g < n_group; ++g) best_groups.Add(g, GroupScore(scores, g * per_group, per_group));
    std::sort(groups, groups + n_chosen, [](const auto& a, const auto& b) { return a.expert < b.expert; });
    for (uint32_t i = 0; i < n_chosen; ++i) {
      const uint32_t begin = groups[i].expert * per_group;
      for (uint32_t e = begin; e < begin + per_group; ++e) best.Add(e, ScoreOf(scores, e));
    }
  }

 private:
  float ScoreOf(const float* scores, uint32_t e) const {
    return bias_.empty() ? scores[e] : scores[e] + bias_[e];
  }

  float GroupScore(const float* scores, uint32_t begin, uint32_t n) const {
    Routing::Choice two[2] = {};
    const bool sum = spec_.group_score() == proto::ModelSpec::GROUP_TOP2_SUM && n > 1;
    Best best(sum ? 2 : 1, two);
    for (uint32_t e = begin; e < begin + n; ++e) best.Add(e, ScoreOf(scores, e));
    return sum ? two[0].weight + two[1].weight : two[0].weight;
  }

  const proto::ModelSpec& spec_;
  const std::span<const float> bias_;
  const uint32_t k_;
};

// Logits of one token become scores.
void Gate(const proto::ModelSpec& spec, const kernels::KernelTable& table, std::span<const float> bias,
          float* row) {
  const uint32_t n = spec.n_experts();
  if (!bias.empty()) table.axpy(1.0f, bias.data(), n, row);
  if (spec.weights_scale_inputs())
    return;  // chosen by the logits, of which far apart ones have the same sigmoid
  if (spec.gating() == proto::ModelSpec::SOFTMAX) return table.softmax(row, n);
  for (uint32_t e = 0; e < n; ++e) row[e] = Sigmoid(row[e]);
}

}  // namespace

void RouteTopK(const proto::ModelSpec& spec, const kernels::KernelTable& table, const ThreadTeam& team,
               const RouterBiases& biases, float* scores, size_t n_tokens, Routing* routing) {
  const uint32_t n_experts = spec.n_experts(), k = std::min(spec.n_experts_used(), n_experts);
  const float scale = spec.routed_scaling_factor() == 0 ? 1.0f : spec.routed_scaling_factor();
  auto& choices = routing->choices;
  choices.resize(n_tokens * k);
  const size_t n_groups = spec.n_group() > 1 ? spec.topk_group() : 0;
  routing->groups_of_threads.resize(team.size() * n_groups);
  const Chooser chooser(spec, biases.scores);
  constexpr size_t kTokensPerTask = 16;
  team.For(DivUp(n_tokens, kTokensPerTask), [&](size_t task, int thread) {
    const size_t end = std::min(n_tokens, (task + 1) * kTokensPerTask);
    for (size_t t = task * kTokensPerTask; t < end; ++t) {
      float* row = scores + t * n_experts;
      Gate(spec, table, biases.logits, row);
      Routing::Choice* chosen = choices.data() + t * k;
      chooser.Choose(row, routing->groups_of_threads.data() + thread * n_groups, chosen);
      float sum = 0;
      for (uint32_t i = 0; i < k; ++i) {
        const float score = row[chosen[i].expert];
        sum += chosen[i].weight = spec.weights_scale_inputs() ? Sigmoid(score) : score;
      }
      const float factor = spec.norm_topk_prob() ? scale / std::max(sum, kLeastSum) : scale;
      for (uint32_t i = 0; i < k; ++i) chosen[i].weight *= factor;
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
  routing->input_weights.clear();
  if (!spec.weights_scale_inputs()) return;
  routing->input_weights = routing->weights;
  routing->weights.assign(begin, 1.0f);
}

void RouteShared(size_t n_tokens, std::span<const float> gate_logits, Routing* routing) {
  const auto begin = static_cast<uint32_t>(routing->tokens.size());
  routing->groups.push_back({kSharedExpert, begin, begin + static_cast<uint32_t>(n_tokens)});
  routing->tokens.resize(begin + n_tokens);
  std::iota(routing->tokens.begin() + begin, routing->tokens.end(), 0);
  routing->weights.resize(begin + n_tokens, 1.0f);
  if (!routing->input_weights.empty()) routing->input_weights.resize(begin + n_tokens, 1.0f);
  for (size_t t = 0; t < gate_logits.size(); ++t) routing->weights[begin + t] = Sigmoid(gate_logits[t]);
}

void RouteAll(size_t n_tokens, Routing* routing) {
  routing->groups.assign(1, {0, 0, static_cast<uint32_t>(n_tokens)});
  routing->tokens.resize(n_tokens);
  std::iota(routing->tokens.begin(), routing->tokens.end(), 0);
  routing->weights.assign(n_tokens, 1.0f);
  routing->input_weights.clear();
}

}  // namespace onecopy::exec
