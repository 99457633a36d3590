// Experts in the spelling of both formats: numbers and widths, gating, groups, shared experts and dense layers.
// Defaults of absent keys are llama.cpp's (llama-model.cpp) and those of transformers' classes.
#include <fmt/format.h>

#include <algorithm>

#include "runtime/base/printable.h"
#include "runtime/model/families/families.h"
#include "runtime/model/json_file.h"

namespace onecopy {
namespace {

using proto::ModelSpec;

constexpr uint32_t kGgufSoftmax = 1, kGgufSigmoid = 2, kGgufSoftmaxOfChosen = 3;

void SetLeadingDenseLayers(uint32_t leading, ModelSpec* spec) {
  for (uint32_t layer = 0; layer < leading; ++layer) spec->add_dense_layers(layer);
}

// V2 takes the best expert of a group as the group's score, V3 the sum of the best two, with the bias in it.
void SetGroups(uint32_t n_group, uint32_t topk_group, ModelSpec* spec) {
  spec->set_n_group(n_group);
  spec->set_topk_group(topk_group);
  spec->set_group_score(spec->gating() == ModelSpec::SIGMOID ? ModelSpec::GROUP_TOP2_SUM
                                                             : ModelSpec::GROUP_MAX);
}

void ReadGgufGating(ModelSpec::Gating fallback, Parameters* in, ModelSpec* spec) {
  constexpr const char* kKey = "expert_gating_func";
  const uint32_t known = fallback == ModelSpec::SIGMOID ? kGgufSigmoid : kGgufSoftmax;
  const uint32_t gating = in->CountOr(kKey, known, 0, 1 << 10);
  if (gating > kGgufSoftmaxOfChosen)
    in->Problem(kKey, fmt::format("expected softmax (1), sigmoid (2) or softmax of the chosen (3), found {}",
                                  gating));
  const uint32_t used = gating == 0 ? known : gating;  // converters write 0 for "as the architecture has it"
  spec->set_gating(used == kGgufSigmoid ? ModelSpec::SIGMOID : ModelSpec::SOFTMAX);
  // A softmax over the chosen logits is the softmax over all, divided by the sum of the chosen.
  if (used == kGgufSoftmaxOfChosen) spec->set_norm_topk_prob(true);
}

void ReadGgufShared(bool has_shared, Parameters* in, ModelSpec* spec) {
  const uint32_t count =
      in->CountOr("expert_shared_count", 0, 0, kMaxDim / std::max(1u, spec->moe_intermediate_dim()));
  const uint32_t width = in->CountOr("expert_shared_feed_forward_length", 0, 0, kMaxDim);
  if (!has_shared) {
    if (count > 0) in->Problem("expert_shared_count", "is not supported in this family");
    if (width > 0) in->Problem("expert_shared_feed_forward_length", "is not supported in this family");
    return;
  }
  spec->set_shared_intermediate_dim(width > 0 ? width : count * spec->moe_intermediate_dim());
}

// Layers that mlp_layer_types calls dense.
void ReadMlpLayerTypes(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  const nlohmann::json& types = checkpoint.metadata.at("mlp_layer_types");
  if (!types.is_array() || types.size() != spec->n_layers())
    return in->Problem("mlp_layer_types", fmt::format("expected a list of {} layers", spec->n_layers()));
  for (uint32_t layer = 0; layer < spec->n_layers(); ++layer) {
    if (types[layer] == "dense")
      spec->add_dense_layers(layer);
    else if (types[layer] != "sparse")
      return in->Problem("mlp_layer_types",
                         fmt::format("expected dense or sparse, found {}", ShownJson(types[layer])));
  }
}

}  // namespace

void ReadGgufExperts(const GgufExperts& defaults, Parameters* in, ModelSpec* spec) {
  spec->set_n_experts(in->Count("expert_count", 1, kMaxExperts));
  spec->set_n_experts_used(in->Count("expert_used_count", 1, kMaxExperts));
  // Where the key is absent, llama.cpp divides the dense width.
  spec->set_moe_intermediate_dim(in->Has("expert_feed_forward_length")
                                     ? in->Count("expert_feed_forward_length", 1, kMaxDim)
                                     : in->Count("feed_forward_length", 1, kMaxDim) / spec->n_experts_used());
  if (spec->moe_intermediate_dim() == 0)
    in->Problem("feed_forward_length", "is below the number of experts used");
  spec->set_norm_topk_prob(in->FlagOr("expert_weights_norm", defaults.norm_topk_prob));
  // 0 stands for a key that the converter did not set.
  spec->set_routed_scaling_factor(
      in->NumberOr("expert_weights_scale", 0) == 0 ? 1 : in->Positive("expert_weights_scale"));
  ReadGgufGating(defaults.gating, in, spec);
  ReadGgufShared(defaults.shared, in, spec);
  SetGroups(in->CountOr("expert_group_count", 1, 0, kMaxExperts),
            in->CountOr("expert_group_used_count", 1, 0, kMaxExperts), spec);
  const uint32_t leading = in->CountOr("leading_dense_block_count", 0, 0, spec->n_layers());
  if (leading > 0 && !defaults.leading_dense)
    in->Problem("leading_dense_block_count", "is not supported in this family");
  if (in->CountOr("interleave_moe_layer_step", 1, 0, kMaxLayers) > 1)
    in->Problem("interleave_moe_layer_step", "is not supported in this family");
  SetLeadingDenseLayers(leading, spec);
  if (leading > 0) spec->set_intermediate_dim(in->Count("feed_forward_length", 1, kMaxDim));
}

void ReadHfFineGrainedExperts(const Checkpoint& checkpoint, const HfFineGrained& defaults, Parameters* in,
                              ModelSpec* spec) {
  if (in->Has("mlp_layer_types")) {
    ReadMlpLayerTypes(checkpoint, in, spec);
  } else {
    SetLeadingDenseLayers(in->CountOr("first_k_dense_replace", defaults.first_k_dense, 0, spec->n_layers()),
                          spec);
  }
  if (spec->dense_layers_size() > 0) spec->set_intermediate_dim(in->Count("intermediate_size", 1, kMaxDim));
  spec->set_n_experts(in->Count("n_routed_experts", 1, kMaxExperts));
  spec->set_n_experts_used(in->Count("num_experts_per_tok", 1, kMaxExperts));
  spec->set_moe_intermediate_dim(in->Count("moe_intermediate_size", 1, kMaxDim));
  spec->set_shared_intermediate_dim(
      in->CountOr("n_shared_experts", 0, 0, kMaxDim / spec->moe_intermediate_dim()) *
      spec->moe_intermediate_dim());

  std::string scoring = in->TextOr("scoring_func", defaults.scoring);
  if (scoring == defaults.sigmoid) scoring = "sigmoid";
  if (scoring != "softmax" && scoring != "sigmoid") {
    in->Problem("scoring_func", fmt::format("expected softmax or sigmoid, found {}", Printable(scoring)));
  }
  spec->set_gating(scoring == "sigmoid" ? ModelSpec::SIGMOID : ModelSpec::SOFTMAX);
  spec->set_norm_topk_prob(in->FlagOr("norm_topk_prob", defaults.norm_topk_prob));
  spec->set_routed_scaling_factor(in->PositiveOr("routed_scaling_factor", defaults.routed_scaling_factor));

  const std::string method = in->TextOr("topk_method", defaults.topk_method);
  const bool grouped = method == "group_limited_greedy" || method == "noaux_tc";
  if (!grouped && method != "greedy") {
    in->Problem("topk_method", fmt::format("expected greedy, group_limited_greedy or noaux_tc, found {}",
                                           Printable(method)));
  }
  SetGroups(grouped ? in->CountOr("n_group", 1, 1, kMaxExperts) : 1,
            grouped ? in->CountOr("topk_group", 1, 1, kMaxExperts) : 1, spec);
  if (in->CountOr("moe_layer_freq", 1, 1, kMaxLayers) != 1)
    in->Problem("moe_layer_freq", "only 1 is supported");
  spec->set_n_nextn_layers(in->CountOr("num_nextn_predict_layers", 0, 0, kMaxLayers));
}

void ReadHfQwenExperts(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  spec->set_n_experts(in->Count("num_experts", 0, kMaxExperts));
  if (spec->n_experts() > 0) {
    spec->set_n_experts_used(in->Count("num_experts_per_tok", 1, kMaxExperts));
    spec->set_moe_intermediate_dim(in->Count("moe_intermediate_size", 1, kMaxDim));
  }
  spec->set_norm_topk_prob(in->FlagOr("norm_topk_prob", false));

  std::vector<bool> dense(spec->n_layers(), spec->n_experts() == 0);
  const uint32_t step = in->CountOr("decoder_sparse_step", 1, 1, kMaxLayers);
  for (uint32_t layer = 0; layer < spec->n_layers(); ++layer) {
    if ((layer + 1) % step != 0) dense[layer] = true;
  }
  if (in->Has("mlp_only_layers")) {
    const nlohmann::json& listed = checkpoint.metadata.at("mlp_only_layers");
    if (!listed.is_array()) in->Problem("mlp_only_layers", "expected a list of layers");
    for (const nlohmann::json& layer : listed.is_array() ? listed : nlohmann::json::array()) {
      if (!layer.is_number_integer() || layer < 0 || layer >= spec->n_layers()) {
        return in->Problem("mlp_only_layers",
                           fmt::format("expected layers from 0 to {}", spec->n_layers() - 1));
      }
      dense[layer.get<uint32_t>()] = true;
    }
  }
  for (uint32_t layer = 0; layer < spec->n_layers(); ++layer) {
    if (dense[layer]) spec->add_dense_layers(layer);
  }
  if (spec->dense_layers_size() > 0) spec->set_intermediate_dim(in->Count("intermediate_size", 1, kMaxDim));
}

void ReadDense(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  SetLeadingDenseLayers(spec->n_layers(), spec);
  spec->set_intermediate_dim(in->Count(gguf ? "feed_forward_length" : "intermediate_size", 1, kMaxDim));
  if (gguf && in->CountOr("expert_count", 0, 0, kMaxExperts) > 0)
    in->Problem("expert_count", "experts are not supported in this family");
}

void ReadGgufNextn(Parameters* in, ModelSpec* spec) {
  const uint32_t nextn = in->CountOr("nextn_predict_layers", 0, 0, spec->n_layers() - 1);
  spec->set_n_nextn_layers(nextn);
  spec->set_n_layers(spec->n_layers() - nextn);
}

void CheckGroups(bool gguf, Parameters* in, const ModelSpec& spec) {
  const uint32_t n_group = std::max(1u, spec.n_group());
  if (spec.topk_group() <= n_group && (n_group == 1 || spec.topk_group() > 0) &&
      spec.n_experts() % n_group == 0)
    return;
  in->Problem(gguf ? "expert_group_count" : "n_group",
              fmt::format("{} experts in {} groups, of which {}, do not fit together", spec.n_experts(),
                          n_group, spec.topk_group()));
}

}  // namespace onecopy
