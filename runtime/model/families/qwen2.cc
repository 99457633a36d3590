// Qwen2 and Qwen2.5, dense: biases on q, k and v. Source: transformers' Qwen2ForCausalLM; llama.cpp's architecture qwen2.
#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;

void ReadQwen2(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  ReadTransformer(checkpoint, {.window = HfDefaults::Window::kSwitchedUpperLayers}, &in, spec);
  ReadDense(checkpoint, &in, spec);
  spec->set_rope_style(ModelSpec::NEOX);
  CheckTransformer(&in, *spec);
}

std::vector<Family::TensorRow> Qwen2Rows() {
  std::vector<Family::TensorRow> rows = Joined({AttentionRows(), DenseRows()});
  for (Family::TensorRow& row : rows) row.optional = false;  // the biases are always there
  return rows;
}

}  // namespace

const Family& Qwen2Family() {
  static const Family family = {"qwen2", {"qwen2"}, {"qwen2"}, ReadQwen2, Qwen2Rows()};
  return family;
}

}  // namespace onecopy
