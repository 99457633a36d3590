// Mixtral: Llama's attention, softmax routing over experts in place of every FFN.
// Source: transformers' MixtralForCausalLM; llama.cpp's architecture llama with expert_count > 0, whose
// converter permutes the rows of q and k so that rope turns neighbouring pairs.
#include "runtime/base/error.h"
#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

void ReadParameters(const Checkpoint& checkpoint, ModelSpec* spec) {
  Parameters in = OpenParameters(checkpoint);
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  if (gguf && in.CountOr("expert_count", 0, 0, kMaxExperts) == 0) {
    in.Check();
    Fail(ErrorCode::kBadInput,
         "{}: llama.expert_count: dense llama models, without experts, are not supported yet",
         checkpoint.path);
  }
  ReadTransformer(checkpoint, &in, spec);
  spec->set_n_experts(in.Count(gguf ? "expert_count" : "num_local_experts", 1, kMaxExperts));
  spec->set_n_experts_used(in.Count(gguf ? "expert_used_count" : "num_experts_per_tok", 1, kMaxExperts));
  spec->set_moe_intermediate_dim(in.Count(gguf ? "feed_forward_length" : "intermediate_size", 1, kMaxDim));
  spec->set_norm_topk_prob(gguf ? in.FlagOr("expert_weights_norm", true) : true);
  spec->set_rope_style(gguf ? ModelSpec::PAIRWISE : ModelSpec::NEOX);
  CheckTransformer(&in, *spec);
}

std::vector<Family::TensorRow> Rows() {
  std::vector<Family::TensorRow> rows = AttentionRows();
  for (const Family::TensorRow& row : std::initializer_list<Family::TensorRow>{
           {Weight::ROUTER, "blk.{L}.ffn_gate_inp.weight", "model.layers.{L}.block_sparse_moe.gate.weight"},
           {Weight::EXPERT_GATE, "blk.{L}.ffn_gate_exps.weight",
            "model.layers.{L}.block_sparse_moe.experts.{E}.w1.weight"},
           {Weight::EXPERT_UP, "blk.{L}.ffn_up_exps.weight",
            "model.layers.{L}.block_sparse_moe.experts.{E}.w3.weight"},
           {Weight::EXPERT_DOWN, "blk.{L}.ffn_down_exps.weight",
            "model.layers.{L}.block_sparse_moe.experts.{E}.w2.weight"},
       }) {
    rows.push_back(row);
  }
  return rows;
}

}  // namespace

const Family& MixtralFamily() {
  static const Family family = {"mixtral", {"llama"}, {"mixtral"}, ReadParameters, Rows()};
  return family;
}

}  // namespace onecopy
