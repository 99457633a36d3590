// Router: which experts each token goes to, and with what weight. Softmax gating over all experts, then the
// top k (Qwen3-MoE, Mixtral). Pure; every rank decides the same from the same scores.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "proto/model.pb.h"
#include "runtime/exec/thread_team.h"

namespace onecopy::exec {

// Tokens of one expert: entries [begin, end) of tokens and weights below.
struct ExpertGroup {
  uint32_t expert;
  uint32_t begin, end;
  uint32_t size() const { return end - begin; }
};

// Tokens grouped by expert, experts ascending, tokens ascending within one. Kept from layer to layer, it allocates nothing.
struct Routing {
  std::vector<ExpertGroup> groups;
  std::vector<uint32_t> tokens;  // token index of each entry
  std::vector<float> weights;    // factor of the expert's output for that token

  struct Choice {
    uint32_t expert;
    float weight;
  };
  std::vector<Choice> choices;  // [n_tokens][n_experts_used], best first
  std::vector<uint32_t> next;   // [n_experts]: where its next entry goes, while entries are made
};

// scores: [n_tokens][spec.n_experts] router logits, changed in place. Ties go to the lower expert.
// A NaN score counts as the least.
void RouteTopK(const proto::ModelSpec& spec, const kernels::KernelTable& table, const ThreadTeam& team,
               float* scores, size_t n_tokens, Routing* routing);

// All tokens to one expert (a dense FFN).
void RouteAll(size_t n_tokens, Routing* routing);

}  // namespace onecopy::exec
