// Router: which experts each token goes to, and with what weight, as the spec says: softmax or sigmoid gating, the top
// k of all experts or of the best groups, by scores that a bias may correct (DeepSeek-V2, arXiv 2405.04434, section
// 2.2; DeepSeek-V3, arXiv 2412.19437, section 2.1.2). Pure; every rank decides the same from the same scores.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "proto/model.pb.h"
#include "runtime/exec/thread_team.h"

namespace onecopy::exec {

// The number of the shared expert in a routing, behind all others.
inline constexpr uint32_t kSharedExpert = UINT32_MAX;

// Tokens of one expert: entries [begin, end) of tokens and weights below.
struct ExpertGroup {
  uint32_t expert;
  uint32_t begin, end;
  uint32_t n_many = 0;  // of which the first so many are for the kernel for many tokens (pieces.h)
  uint32_t size() const { return end - begin; }
};

// Tokens grouped by expert, experts ascending, tokens ascending within one until Pieces::Order. Kept from layer to layer, it
// allocates nothing.
struct Routing {
  std::vector<ExpertGroup> groups;
  std::vector<uint32_t> tokens;      // token index of each entry
  std::vector<float> weights;        // factor of the expert's output for that token
  std::vector<float> input_weights;  // of its input; empty: none has one

  struct Choice {
    uint32_t expert;
    float weight;
  };
  std::vector<Choice> choices;            // [n_tokens][n_experts_used], best first
  std::vector<uint32_t> next;             // [n_experts]: where its next entry goes, while entries are made
  std::vector<Choice> groups_of_threads;  // [team.size()][topk_group]
};

// Of one layer's router; each [n_experts], or empty where the model has none.
struct RouterBiases {
  std::span<const float> logits;  // added to the logits
  std::span<const float> scores;  // added to the scores to choose by, not to weigh by
};

// scores: [n_tokens][spec.n_experts] router logits, changed in place. Ties go to the lower expert.
// A NaN score counts as the least. Experts outside the chosen groups are never taken.
void RouteTopK(const proto::ModelSpec& spec, const kernels::KernelTable& table, const ThreadTeam& team,
               const RouterBiases& biases, float* scores, size_t n_tokens, Routing* routing);

// Adds a group in which all tokens go to the shared expert, with weight 1 or, where gate_logits [n_tokens] is not empty,
// sigmoid(gate_logits).
void RouteShared(size_t n_tokens, std::span<const float> gate_logits, Routing* routing);

// All tokens to one expert (a dense FFN).
void RouteAll(size_t n_tokens, Routing* routing);

}  // namespace onecopy::exec
