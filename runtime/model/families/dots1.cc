// dots.llm1: Qwen3's attention, with norms on q and k per head, and DeepSeek-V3's experts: sigmoid routing with a correction
// bias, shared experts, dense layers first. Source: transformers' Dots1ForCausalLM; llama.cpp's architecture dots1.
#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

void ReadDots1(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  ReadTransformer(checkpoint, {.window = HfDefaults::Window::kUpperLayers}, &in, spec);
  if (gguf) {
    ReadGgufExperts(
        {.gating = ModelSpec::SIGMOID, .norm_topk_prob = false, .shared = true, .leading_dense = true}, &in,
        spec);
  } else {
    ReadHfFineGrainedExperts(checkpoint, {.sigmoid = "noaux_tc", .norm_topk_prob = false}, &in, spec);
    CheckHfBias(checkpoint, "attention_bias", false, &in);
  }
  spec->set_rope_style(ModelSpec::NEOX);
  CheckGroups(gguf, &in, *spec);
  CheckTransformer(&in, *spec);
}

}  // namespace

const Family& Dots1Family() {
  static const Family family = {"dots1",
                                {"dots1"},
                                {"dots1"},
                                ReadDots1,
                                Joined({AttentionRows(),
                                        {OutputBiasRow()},
                                        QkNormRows(),
                                        DenseRows(),
                                        ExpertRows(),
                                        SharedExpertRows(),
                                        {{Weight::ROUTER_BIAS, "blk.{L}.exp_probs_b.bias",
                                          "model.layers.{L}.mlp.gate.e_score_correction_bias", true}}})};
  return family;
}

}  // namespace onecopy
