// Qwen3-MoE: grouped-query attention with norms on q and k per head, softmax routing, no shared expert.
// Source: transformers' Qwen3MoeForCausalLM and its config; llama.cpp's architecture qwen3moe.
#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;

void ReadQwen3Moe(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  ReadTransformer(checkpoint, {.window = HfDefaults::Window::kSwitchedEveryLayer}, &in, spec);
  if (checkpoint.format == CheckpointFormat::kGguf) {
    ReadGgufExperts({}, &in, spec);
  } else {
    ReadHfQwenExperts(checkpoint, &in, spec);
    CheckHfBias(checkpoint, "attention_bias", false, &in);
  }
  spec->set_rope_style(ModelSpec::NEOX);
  CheckTransformer(&in, *spec);
}

std::vector<Family::TensorRow> Qwen3MoeRows() {
  std::vector<Family::TensorRow> dense = DenseRows();
  for (Family::TensorRow& row : dense) row.gguf = "";  // those files have no dense layers
  return Joined({AttentionRows(), {OutputBiasRow()}, QkNormRows(), dense, ExpertRows()});
}

}  // namespace

const Family& Qwen3MoeFamily() {
  static const Family family = {"qwen3moe", {"qwen3moe"}, {"qwen3_moe"}, ReadQwen3Moe, Qwen3MoeRows()};
  return family;
}

}  // namespace onecopy
