// Qwen3, dense: norms on q and k per head. Source: transformers' Qwen3ForCausalLM; llama.cpp's architecture qwen3.
#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;

void ReadQwen3(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  ReadTransformer(checkpoint, {.window = HfDefaults::Window::kSwitchedUpperLayers}, &in, spec);
  CheckHfBias(checkpoint, "attention_bias", false, &in);
  ReadDense(checkpoint, &in, spec);
  spec->set_rope_style(ModelSpec::NEOX);
  CheckTransformer(&in, *spec);
}

}  // namespace

const Family& Qwen3Family() {
  static const Family family = {"qwen3",
                                {"qwen3"},
                                {"qwen3"},
                                ReadQwen3,
                                Joined({AttentionRows(), {OutputBiasRow()}, QkNormRows(), DenseRows()})};
  return family;
}

}  // namespace onecopy
