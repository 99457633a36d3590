// What the engine cannot compute yet, from a spec's parameters. When it learns one of these, its line goes.
#include <fmt/format.h>

#include "runtime/base/error.h"
#include "runtime/model/model_spec.h"

namespace onecopy {

using proto::ModelSpec;

std::vector<std::string> WhatCannotRun(const ModelSpec& spec) {
  // Heads are cut out of the packed rows and columns of quantised weights, which come in units of 32.
  const auto odd = [](uint32_t n) { return n % 32 != 0; };
  const std::pair<bool, const char*> needs[] = {
      {spec.kv_lora_rank() > 0 &&
           (odd(spec.kv_lora_rank()) || odd(spec.qk_nope_head_dim()) || odd(spec.v_head_dim())),
       "latent attention with lengths that are not multiples of 32"},
      {!spec.linear_layers().empty() &&
           (odd(spec.linear_key_head_dim()) || odd(spec.linear_value_head_dim())),
       "linear attention with heads whose lengths are not multiples of 32"},
  };
  std::vector<std::string> missing;
  for (const auto& [needed, what] : needs)
    if (needed) missing.emplace_back(what);
  return missing;
}

void RequireRunnable(const ModelSpec& spec) {
  if (spec.not_runnable().empty()) return;
  Fail(ErrorCode::kBadInput,
       "{}: family {} can be planned but not run yet: needs {}; the commands plan and inspect work",
       spec.files().empty() ? spec.name() : spec.files(0), spec.family(),
       fmt::join(spec.not_runnable(), ", "));
}

}  // namespace onecopy
