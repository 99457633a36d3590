#include "runtime/model/gguf_keys.h"

#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/model/model_spec.h"

namespace onecopy {
namespace {

using nlohmann::json;
using proto::ModelSpec;
using proto::RopeScaling;

constexpr GgufForm kForms[] = {
    {"qwen3moe", "qwen3moe"},
    {"qwen2moe", "qwen2moe"},
    {"olmoe", "olmoe", false, true},
    {"mixtral", "llama", true, true},
    {"llama", "llama", true},
    {"qwen2", "qwen2"},
    {"qwen3", "qwen3"},
    {"gpt-oss", "gpt-oss"},
    {"deepseek2", "deepseek2"},
    {"glm4moe", "glm4moe"},
    {"dots1", "dots1"},
};

// Keys of one architecture.
class Keys {
 public:
  Keys(std::string architecture, json* out) : prefix_(std::move(architecture) + "."), out_(out) {}
  template <typename T>
  void Set(const char* key, T value) {
    (*out_)[prefix_ + key] = value;
  }
  // 0 is what an absent key means.
  template <typename T>
  void SetUnlessZero(const char* key, T value) {
    if (value != 0) Set(key, value);
  }

 private:
  const std::string prefix_;
  json* out_;
};

void AddRope(const ModelSpec& spec, Keys* keys) {
  keys->Set("rope.freq_base", spec.rope_theta());
  keys->Set("rope.dimension_count", spec.rope_dims());
  const RopeScaling& scaling = spec.rope_scaling();
  if (scaling.kind() == RopeScaling::LINEAR || scaling.kind() == RopeScaling::YARN) {
    keys->Set("rope.scaling.type", scaling.kind() == RopeScaling::YARN ? "yarn" : "linear");
    keys->Set("rope.scaling.factor", scaling.factor());
  }
  if (scaling.kind() != RopeScaling::YARN) return;
  keys->Set("rope.scaling.original_context_length", scaling.original_context_length());
  keys->Set("rope.scaling.yarn_beta_fast", scaling.beta_fast());
  keys->Set("rope.scaling.yarn_beta_slow", scaling.beta_slow());
  // 0.1 * mscale_all_dim, of which the softmax' factor was made.
  if (spec.kv_lora_rank() > 0)
    keys->Set(
        "rope.scaling.yarn_log_multiplier",
        static_cast<float>((std::sqrt(double{scaling.softmax_factor()}) - 1) / std::log(scaling.factor())));
}

void AddExperts(const ModelSpec& spec, const GgufForm& form, Keys* keys) {
  if (spec.n_experts() == 0) return;
  keys->Set("expert_count", spec.n_experts());
  keys->Set("expert_used_count", spec.n_experts_used());
  if (!form.expert_width_is_ffn) keys->Set("expert_feed_forward_length", spec.moe_intermediate_dim());
  keys->Set("expert_weights_norm", spec.norm_topk_prob());
  if (spec.routed_scaling_factor() != 1)
    keys->SetUnlessZero("expert_weights_scale", spec.routed_scaling_factor());
  if (spec.activation() == ModelSpec::SILU)
    keys->Set("expert_gating_func", spec.gating() == ModelSpec::SIGMOID ? 2 : 1);
  keys->SetUnlessZero("expert_shared_feed_forward_length", spec.shared_intermediate_dim());
  keys->SetUnlessZero("expert_shared_count", spec.shared_intermediate_dim() / spec.moe_intermediate_dim());
  if (spec.dense_layers_size() > 0 || form.family == std::string("deepseek2"))
    keys->Set("leading_dense_block_count", spec.dense_layers_size());
  if (spec.n_group() <= 1) return;
  keys->Set("expert_group_count", spec.n_group());
  keys->Set("expert_group_used_count", spec.topk_group());
}

}  // namespace

const GgufForm& GgufFormOf(const ModelSpec& spec) {
  std::vector<const char*> known;
  for (const GgufForm& form : kForms) {
    if (spec.family() == form.family) return form;
    known.push_back(form.family);
  }
  Fail(ErrorCode::kBadInput,
       "{}: writing models of family {} as GGUF is not supported yet: expected one of {}; convert it with "
       "llama.cpp's convert_hf_to_gguf.py, or run the directory as it is (--weights quantises it while "
       "loading)",
       spec.name(), spec.family(), fmt::join(known, ", "));
}

json GgufKeysOf(const ModelSpec& spec) {
  const GgufForm& form = GgufFormOf(spec);
  json out = {
      {"general.architecture", form.architecture}, {"general.type", "model"}, {"general.name", spec.name()}};
  Keys keys(form.architecture, &out);
  keys.Set("block_count", spec.n_layers());
  keys.Set("context_length", spec.context_length());
  keys.Set("embedding_length", spec.hidden_dim());
  keys.Set("vocab_size", spec.vocab_size());
  keys.Set("feed_forward_length",
           spec.intermediate_dim() > 0 ? spec.intermediate_dim() : spec.moe_intermediate_dim());
  keys.Set("attention.layer_norm_rms_epsilon", spec.rms_norm_eps());
  keys.Set("attention.head_count", spec.n_heads());
  // With latent attention the file has kv_b whole: keys and values of every head.
  keys.Set("attention.head_count_kv", spec.kv_lora_rank() > 0 ? spec.n_heads() : spec.n_kv_heads());
  keys.Set("attention.key_length", spec.head_dim());
  keys.Set("attention.value_length", ValueDim(spec));
  keys.SetUnlessZero("attention.kv_lora_rank", spec.kv_lora_rank());
  keys.SetUnlessZero("attention.q_lora_rank", spec.q_lora_rank());
  keys.SetUnlessZero("attention.sliding_window", spec.sliding_window());
  AddRope(spec, &keys);
  AddExperts(spec, form, &keys);
  return out;
}

std::string SpecDifferences(const ModelSpec& directory, const ModelSpec& file) {
  using google::protobuf::util::DefaultFieldComparator;
  using google::protobuf::util::MessageDifferencer;
  const auto parameters = [](ModelSpec spec) {
    for (const char* field : {"name", "files", "file_bytes", "weights", "n_nextn_layers", "rope_style"})
      spec.GetReflection()->ClearField(&spec, spec.GetDescriptor()->FindFieldByName(field));
    // 0 and 1 mean the same.
    if (spec.routed_scaling_factor() == 0) spec.set_routed_scaling_factor(1);
    if (spec.n_group() == 0) spec.set_n_group(1);
    if (spec.n_group() == 1) spec.clear_topk_group();
    if (spec.rope_scaling().kind() == RopeScaling::NONE) spec.clear_rope_scaling();
    return spec;
  };
  // YaRN's factors go through logarithms.
  DefaultFieldComparator comparator;
  comparator.set_float_comparison(DefaultFieldComparator::APPROXIMATE);
  comparator.SetDefaultFractionAndMargin(1e-6, 0);
  MessageDifferencer differencer;
  differencer.set_field_comparator(&comparator);
  std::string differences;
  differencer.ReportDifferencesToString(&differences);
  if (differencer.Compare(parameters(directory), parameters(file))) return "";
  std::replace(differences.begin(), differences.end(), '\n', ';');
  return differences;
}

}  // namespace onecopy
