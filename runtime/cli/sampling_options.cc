#include "runtime/cli/sampling_options.h"

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <random>

#include "runtime/base/error.h"

namespace onecopy::cli {
namespace {

// The model's own recommendation; absent or of another kind: nothing.
std::optional<float> Recommended(const Checkpoint& checkpoint, const char* gguf_key, const char* hf_key) {
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  const nlohmann::json& from = gguf ? checkpoint.metadata : checkpoint.generation_config;
  const std::string key = gguf ? std::string("general.sampling.") + gguf_key : hf_key;
  if (!from.is_object() || !from.contains(key) || !from[key].is_number()) return std::nullopt;
  if (!gguf &&
      !(from.contains("do_sample") && from["do_sample"].is_boolean() && from["do_sample"].get<bool>()))
    return std::nullopt;
  return from[key].get<float>();
}

std::pair<int32_t, float> ParseBias(const std::string& text) {
  const size_t colon = text.find(':');
  char* id_end = nullptr;
  char* bias_end = nullptr;
  const long id = std::strtol(text.c_str(), &id_end, 10);
  const float bias = colon == std::string::npos ? 0 : std::strtof(text.c_str() + colon + 1, &bias_end);
  if (colon == 0 || colon == std::string::npos || id_end != text.c_str() + colon || id < 0 ||
      id > INT32_MAX || bias_end == text.c_str() + colon + 1 || *bias_end != '\0')
    Fail(ErrorCode::kUsage, "--logit-bias '{}' is not a token id and a bias, such as 4093:-5 or 4093:-inf",
         text);
  return {static_cast<int32_t>(id), bias};
}

}  // namespace

void AddSamplingOptions(CLI::App* app, SamplingOptions* options) {
  app->add_option("--temp", options->temperature,
                  "temperature; 0: always the likeliest token; default: the model's");
  app->add_option("--top-k", options->top_k, "sample among the K likeliest; 0: all");
  app->add_option("--top-p", options->top_p, "sample among the likeliest that make up this probability");
  app->add_option("--min-p", options->min_p, "least probability, relative to the likeliest");
  app->add_option("--repeat-penalty", options->repetition_penalty, "divide logits of tokens seen before");
  app->add_option("--presence-penalty", options->presence_penalty,
                  "subtract from logits of tokens seen before");
  app->add_option("--frequency-penalty", options->frequency_penalty,
                  "subtract for each time a token was seen");
  app->add_option("--seed", options->seed, "seed of the sampler; default: drawn, and printed");
  app->add_option("--logit-bias", options->logit_bias, "ID:BIAS, added to a token's logit; may be repeated");
}

text::SamplerOptions ResolveSampling(const SamplingOptions& options, const Checkpoint& checkpoint) {
  text::SamplerOptions sampler;
  const auto pick = [&](const std::optional<float>& given, const char* gguf_key, const char* hf_key,
                        float otherwise) {
    return given ? *given : Recommended(checkpoint, gguf_key, hf_key).value_or(otherwise);
  };
  sampler.temperature = pick(options.temperature, "temp", "temperature", 0.8f);
  sampler.top_p = pick(options.top_p, "top_p", "top_p", 0.95f);
  sampler.min_p = pick(options.min_p, "min_p", "min_p", 0.0f);
  sampler.top_k = options.top_k
                      ? *options.top_k
                      : static_cast<int32_t>(Recommended(checkpoint, "top_k", "top_k").value_or(40.0f));
  sampler.repetition_penalty =
      pick(options.repetition_penalty, "penalty_repeat", "repetition_penalty", sampler.repetition_penalty);
  sampler.presence_penalty = options.presence_penalty.value_or(sampler.presence_penalty);
  sampler.frequency_penalty = options.frequency_penalty.value_or(sampler.frequency_penalty);
  for (const std::string& bias : options.logit_bias) sampler.logit_bias.insert(ParseBias(bias));
  sampler.seed = options.seed ? *options.seed : std::random_device{}();
  return sampler;
}

}  // namespace onecopy::cli
