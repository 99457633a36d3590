// What the engine cannot compute yet, from a spec's parameters. When it learns one of these, its line goes.
#include <fmt/format.h>

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/model/model_spec.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

bool HasRole(const ModelSpec& spec, std::initializer_list<Weight::Role> roles) {
  return std::any_of(spec.weights().begin(), spec.weights().end(), [&](const Weight& weight) {
    return std::find(roles.begin(), roles.end(), weight.role()) != roles.end();
  });
}

}  // namespace

std::vector<std::string> WhatCannotRun(const ModelSpec& spec) {
  const float scale = spec.routed_scaling_factor();
  const std::pair<bool, const char*> needs[] = {
      {spec.kv_lora_rank() > 0, "multi-head latent attention"},
      {spec.rope_scaling().kind() == proto::RopeScaling::YARN, "rope scaling by YaRN"},
      {spec.gating() == ModelSpec::SIGMOID, "sigmoid gating"},
      {HasRole(spec, {Weight::ROUTER_BIAS}), "a correction bias of the router's scores"},
      {spec.n_group() > 1, "groups of experts"},
      {scale != 0 && scale != 1, "scaled expert weights"},
      {spec.shared_intermediate_dim() > 0, "shared experts"},
      {spec.sliding_window() > 0, "sliding-window attention"},
      {HasRole(spec, {Weight::ATTN_SINKS}), "attention sinks"},
      {spec.activation() != ModelSpec::SILU, "clamped SwiGLU"},
      {HasRole(spec, {Weight::ATTN_O_BIAS}), "a bias of the attention output"},
      {HasRole(spec, {Weight::ROUTER_LOGIT_BIAS}), "a bias of the router"},
      {HasRole(spec, {Weight::EXPERT_GATE_BIAS, Weight::EXPERT_UP_BIAS, Weight::EXPERT_DOWN_BIAS}),
       "biases of the experts"},
  };
  std::vector<std::string> missing;
  for (const auto& [needed, what] : needs)
    if (needed) missing.emplace_back(what);
  return missing;
}

void RequireRunnable(const ModelSpec& spec) {
  if (spec.not_runnable().empty()) return;
  Fail(ErrorCode::kBadInput,
       "{}: family {} can be planned but not run yet: needs {}; `onecopy plan` and `onecopy inspect` work",
       spec.files().empty() ? spec.name() : spec.files(0), spec.family(),
       fmt::join(spec.not_runnable(), ", "));
}

}  // namespace onecopy
