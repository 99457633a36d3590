// gpt-oss: grouped-query attention with sinks, every other layer over a sliding window; experts in MXFP4 with biases and a
// clamped SwiGLU; the chosen experts' logits are softmaxed. A Hugging Face directory has the rows of gate and up in turn in
// one tensor, and so the elements of their biases.
// Sources: the gpt-oss model card (arXiv 2508.10925) and transformers' gpt_oss; names of llama.cpp's architecture gpt-oss
// (gguf-py constants.py, conversion of GptOssModel).
#include <fmt/format.h>

#include <utility>

#include "runtime/base/printable.h"
#include "runtime/model/families/families.h"
#include "runtime/model/json_file.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

// GGUF files carry neither; both are the same in all published models.
constexpr float kSwigluLimit = 7;
constexpr uint32_t kWindowPeriod = 2;  // the first layer of each pair has the window

void ReadGptOssGguf(Parameters* in, ModelSpec* spec) {
  spec->set_head_dim(in->Count("attention.key_length", 1, kMaxDim));
  if (in->CountOr("attention.value_length", spec->head_dim(), 1, kMaxDim) != spec->head_dim())
    in->Problem("attention.value_length", "another length than that of keys is not supported yet");
  spec->set_rope_dims(in->CountOr("rope.dimension_count", spec->head_dim(), 1, kMaxDim));
  spec->set_sliding_window(in->Count("attention.sliding_window", 1, kMaxContext));
  if (in->Has("attention.sliding_window_pattern"))
    in->Problem("attention.sliding_window_pattern",
                "another pattern than every other layer is not supported yet");
  for (uint32_t layer = 0; layer < spec->n_layers(); layer += kWindowPeriod) spec->add_sliding_layers(layer);
  spec->set_n_experts(in->Count("expert_count", 1, kMaxExperts));
  spec->set_n_experts_used(in->Count("expert_used_count", 1, kMaxExperts));
  spec->set_moe_intermediate_dim(in->Count("expert_feed_forward_length", 1, kMaxDim));
  spec->set_swiglu_limit(kSwigluLimit);
  if (!in->FlagOr("expert_weights_norm", true))
    in->Problem("expert_weights_norm", "false is not supported in this family");
  // As the published config.json has it; GGUF has no key for it.
  if (spec->rope_scaling().kind() == proto::RopeScaling::YARN)
    spec->mutable_rope_scaling()->set_truncate(false);
}

// Absent: every other layer, as transformers fills it in.
void ReadLayerTypes(const nlohmann::json& config, Parameters* in, ModelSpec* spec) {
  const auto types = config.find("layer_types");
  if (types == config.end() || types->is_null()) {
    for (uint32_t layer = 0; layer < spec->n_layers(); layer += kWindowPeriod)
      spec->add_sliding_layers(layer);
    return;
  }
  if (!types->is_array() || types->size() != spec->n_layers())
    return in->Problem("layer_types", fmt::format("expected a list of {} layers", spec->n_layers()));
  for (uint32_t layer = 0; layer < spec->n_layers(); ++layer) {
    const nlohmann::json& value = (*types)[layer];
    const std::string type = value.is_string() ? value.get<std::string>() : ShownJson(value);
    if (type == "sliding_attention")
      spec->add_sliding_layers(layer);
    else if (type != "full_attention")
      return in->Problem("layer_types", fmt::format("expected full_attention or sliding_attention, found {}",
                                                    Printable(type)));
  }
}

void ReadGptOssHf(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec) {
  spec->set_head_dim(in->Count("head_dim", 1, kMaxDim));
  spec->set_rope_dims(spec->head_dim());
  spec->set_sliding_window(in->Count("sliding_window", 1, kMaxContext));
  ReadLayerTypes(checkpoint.metadata, in, spec);
  spec->set_n_experts(in->Count("num_local_experts", 1, kMaxExperts));
  spec->set_n_experts_used(in->Count("num_experts_per_tok", 1, kMaxExperts));
  spec->set_moe_intermediate_dim(in->Count("intermediate_size", 1, kMaxDim));
  spec->set_swiglu_limit(in->PositiveOr("swiglu_limit", kSwigluLimit));
  const std::string activation = in->TextOr("hidden_act", "silu");
  if (activation != "silu")
    in->Problem("hidden_act", fmt::format("expected silu, found {}", Printable(activation)));
  if (!in->FlagOr("attention_bias", true))
    in->Problem("attention_bias", "false is not supported in this family");
  RefuseHfQuantization(checkpoint, in);
}

void ReadGptOss(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  ReadSizes(checkpoint, &in, spec);
  ReadRope(checkpoint, &in, spec);
  spec->set_rope_style(ModelSpec::NEOX);
  checkpoint.format == CheckpointFormat::kGguf ? ReadGptOssGguf(&in, spec)
                                               : ReadGptOssHf(checkpoint, &in, spec);
  // A softmax over the chosen logits is the softmax over all, divided by the sum of the chosen.
  spec->set_norm_topk_prob(true);
  spec->set_activation(ModelSpec::CLAMPED_SWIGLU);
  CheckTransformer(&in, *spec);
}

std::vector<Family::TensorRow> GptOssRows() {
  std::vector<Family::TensorRow> rows = AttentionRows();
  for (Family::TensorRow& row : rows) {
    row.optional = false;  // q, k and v all have a bias
    if (row.role == Weight::FFN_NORM) row.gguf = "blk.{L}.post_attention_norm.weight";
  }
  constexpr const char* kGateUp = "model.layers.{L}.mlp.experts.gate_up_proj";
  constexpr const char* kGateUpBias = "model.layers.{L}.mlp.experts.gate_up_proj_bias";
  for (const Family::TensorRow& row : std::initializer_list<Family::TensorRow>{
           {Weight::ATTN_O_BIAS, "blk.{L}.attn_output.bias", "model.layers.{L}.self_attn.o_proj.bias"},
           {Weight::ATTN_SINKS, "blk.{L}.attn_sinks.weight", "model.layers.{L}.self_attn.sinks"},
           {Weight::ROUTER, "blk.{L}.ffn_gate_inp.weight", "model.layers.{L}.mlp.router.weight"},
           {Weight::ROUTER_LOGIT_BIAS, "blk.{L}.ffn_gate_inp.bias", "model.layers.{L}.mlp.router.bias"},
           {Weight::EXPERT_GATE, "blk.{L}.ffn_gate_exps.weight", kGateUp, false, nullptr, 0, 2, true},
           {Weight::EXPERT_UP, "blk.{L}.ffn_up_exps.weight", kGateUp, false, nullptr, 1, 2, true},
           {Weight::EXPERT_DOWN, "blk.{L}.ffn_down_exps.weight", "model.layers.{L}.mlp.experts.down_proj"},
           {Weight::EXPERT_GATE_BIAS, "blk.{L}.ffn_gate_exps.bias", kGateUpBias, false, nullptr, 0, 2, true},
           {Weight::EXPERT_UP_BIAS, "blk.{L}.ffn_up_exps.bias", kGateUpBias, false, nullptr, 1, 2, true},
           {Weight::EXPERT_DOWN_BIAS, "blk.{L}.ffn_down_exps.bias",
            "model.layers.{L}.mlp.experts.down_proj_bias"},
       }) {
    rows.push_back(row);
  }
  return rows;
}

}  // namespace

const Family& GptOssFamily() {
  static const Family family = {"gpt-oss", {"gpt-oss"}, {"gpt_oss"}, ReadGptOss, GptOssRows()};
  return family;
}

}  // namespace onecopy
