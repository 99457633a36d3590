// Llama 2 and 3 and Mistral, dense. Source: transformers' LlamaForCausalLM and MistralForCausalLM; llama.cpp's
// architecture llama without experts, whose converter permutes the rows of q and k so that rope turns neighbouring pairs,
// and writes Llama 3's scaling of the rope as a tensor of factors.
#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;

bool HasNoExperts(const Checkpoint& checkpoint) {
  const auto count = checkpoint.metadata.find("llama.expert_count");
  return checkpoint.format == CheckpointFormat::kHuggingFace || count == checkpoint.metadata.end() ||
         *count == 0;
}

void ReadLlama(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  HfDefaults defaults = {.rope_theta = 10000, .kv_heads = true};
  if (!gguf && checkpoint.metadata.at("model_type") == "mistral") {
    defaults.window = HfDefaults::Window::kEveryLayer;
    if (!checkpoint.metadata.contains("sliding_window"))
      in.Problem("sliding_window", "is missing: expected a number of positions, or null for none");
  }
  ReadTransformer(checkpoint, defaults, &in, spec);
  CheckHfBias(checkpoint, "attention_bias", false, &in);
  if (in.FlagOr("mlp_bias", false)) in.Problem("mlp_bias", "is not supported in this family");
  ReadDense(checkpoint, &in, spec);
  spec->set_rope_style(gguf ? ModelSpec::PAIRWISE : ModelSpec::NEOX);
  CheckTransformer(&in, *spec);
}

}  // namespace

const Family& LlamaFamily() {
  static const Family family = {"llama",
                                {"llama"},
                                {"llama", "mistral"},
                                ReadLlama,
                                Joined({AttentionRows(), {OutputBiasRow(), RopeFactorsRow()}, DenseRows()}),
                                HasNoExperts};
  return family;
}

}  // namespace onecopy
