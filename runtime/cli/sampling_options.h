// Sampling options of the command line, and what a model's own files recommend where the user says nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/model/checkpoint.h"
#include "runtime/text/sampler.h"

namespace CLI {
class App;
}

namespace onecopy::cli {

struct SamplingOptions {
  std::optional<float> temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
  std::optional<int32_t> top_k;
  std::optional<uint64_t> seed;
  std::vector<std::string> logit_bias;  // "ID:BIAS"
};

void AddSamplingOptions(CLI::App* app, SamplingOptions* options);

// The user's values; then the model's (GGUF general.sampling.*, generation_config.json where do_sample); then
// temperature 0.8, top-k 40, top-p 0.95. A seed that was not given is drawn.
// Errors: kUsage for a logit bias that is not ID:BIAS.
text::SamplerOptions ResolveSampling(const SamplingOptions& options, const Checkpoint& checkpoint);

}  // namespace onecopy::cli
