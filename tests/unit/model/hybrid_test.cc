// Qwen3-Next and Qwen3.5: which rows of which tensors are whose, and what is refused.
#include "tests/unit/model/spec_test_support.h"

namespace onecopy {
namespace {

using namespace onecopy::testing;  // NOLINT
using proto::ModelSpec;
using proto::Weight;

constexpr uint64_t kHidden = 32, kVocab = 16, kKeys = 2 * 32, kValues = 4 * 64;

void AddTensor(GgufWriter* gguf, const std::string& name, std::vector<uint64_t> dims, bool f32) {
  uint64_t elements = 1;
  for (const uint64_t dim : dims) elements *= dim;
  gguf->Add({name, std::move(dims), f32 ? 0u : 1u, std::string(elements * (f32 ? 4 : 2), '\0')});
}

void AddKeys(GgufWriter* gguf, const std::string& arch, uint32_t blocks) {
  gguf->Text("general.architecture", arch).U32(arch + ".block_count", blocks);
  const std::string a = arch + ".";
  gguf->U32(a + "context_length", 64).U32(a + "embedding_length", kHidden).U32(a + "feed_forward_length", 32);
  gguf->U32(a + "attention.head_count", 2).U32(a + "attention.head_count_kv", 1);
  gguf->U32(a + "attention.key_length", 32).U32(a + "attention.value_length", 32);
  gguf->F32(a + "attention.layer_norm_rms_epsilon", 1e-6f).F32(a + "rope.freq_base", 1e7f);
  gguf->U32(a + "rope.dimension_count", 8).U32(a + "vocab_size", kVocab);
  gguf->U32(a + "ssm.conv_kernel", 4).U32(a + "ssm.state_size", 32).U32(a + "ssm.group_count", 2);
  gguf->U32(a + "ssm.time_step_rank", 4).U32(a + "ssm.inner_size", kValues);
  gguf->U32(a + "full_attention_interval", 2);
}

// Layer 0 linear, layer 1 with attention, then one block for multi-token prediction; dense.
GgufWriter TinyQwen35() {
  GgufWriter gguf;
  AddKeys(&gguf, "qwen35", 3);
  gguf.U32("qwen35.nextn_predict_layers", 1);
  AddTensor(&gguf, "token_embd.weight", {kHidden, kVocab}, false);
  AddTensor(&gguf, "output_norm.weight", {kHidden}, true);
  for (const std::string b : {"blk.0.", "blk.1.", "blk.2."}) {
    AddTensor(&gguf, b + "attn_norm.weight", {kHidden}, true);
    AddTensor(&gguf, b + "post_attention_norm.weight", {kHidden}, true);
    for (const char* part : {"gate", "up", "down"})
      AddTensor(&gguf, b + "ffn_" + part + ".weight", {kHidden, kHidden}, false);
    if (b == "blk.0.") continue;
    AddTensor(&gguf, b + "attn_q.weight", {kHidden, 2 * 64}, false);
    AddTensor(&gguf, b + "attn_k.weight", {kHidden, 32}, false);
    AddTensor(&gguf, b + "attn_v.weight", {kHidden, 32}, false);
    AddTensor(&gguf, b + "attn_output.weight", {64, kHidden}, false);
    AddTensor(&gguf, b + "attn_q_norm.weight", {32}, true);
    AddTensor(&gguf, b + "attn_k_norm.weight", {32}, true);
  }
  AddTensor(&gguf, "blk.2.nextn.enorm.weight", {kHidden}, true);
  AddTensor(&gguf, "blk.0.attn_qkv.weight", {kHidden, 2 * kKeys + kValues}, false);
  AddTensor(&gguf, "blk.0.attn_gate.weight", {kHidden, kValues}, false);
  AddTensor(&gguf, "blk.0.ssm_alpha.weight", {kHidden, 4}, false);
  AddTensor(&gguf, "blk.0.ssm_beta.weight", {kHidden, 4}, false);
  AddTensor(&gguf, "blk.0.ssm_conv1d.weight", {4, 2 * kKeys + kValues}, true);
  AddTensor(&gguf, "blk.0.ssm_a", {4}, true);
  AddTensor(&gguf, "blk.0.ssm_dt.bias", {4}, true);
  AddTensor(&gguf, "blk.0.ssm_norm.weight", {64}, true);
  AddTensor(&gguf, "blk.0.ssm_out.weight", {kValues, kHidden}, false);
  return gguf;
}

const Weight& Of(const ModelSpec& spec, Weight::Role role) {
  for (const Weight& weight : spec.weights())
    if (weight.role() == role) return weight;
  ADD_FAILURE() << "no " << Weight::Role_Name(role);
  return Weight::default_instance();
}

TEST(Hybrid, Qwen35TakesTensorsApartAndLeavesPredictionOut) {
  const ModelSpec spec = LoadGguf(TinyQwen35());
  EXPECT_EQ(spec.family(), "qwen35");
  EXPECT_EQ(spec.n_layers(), 2u);
  EXPECT_THAT(spec.linear_layers(), ::testing::ElementsAre(0));
  EXPECT_EQ(spec.linear_value_head_dim(), 64u);
  EXPECT_TRUE(spec.linear_heads_tiled());
  EXPECT_TRUE(spec.attn_output_gate());
  EXPECT_TRUE(spec.not_runnable().empty());
  const uint64_t row = kHidden * 2, q = Of(spec, Weight::LINEAR_Q).offset();
  EXPECT_EQ(Of(spec, Weight::LINEAR_K).offset(), q + kKeys * row);
  EXPECT_EQ(Of(spec, Weight::LINEAR_V).offset(), q + 2 * kKeys * row);
  EXPECT_EQ(Of(spec, Weight::LINEAR_CONV_V).offset(),
            Of(spec, Weight::LINEAR_CONV_Q).offset() + 2 * kKeys * 4 * sizeof(float));
  EXPECT_EQ(Of(spec, Weight::LINEAR_V).rows(), kValues);
  EXPECT_EQ(Of(spec, Weight::ATTN_Q).rows(), 2u * 64);
  EXPECT_EQ(Of(spec, Weight::ATTN_Q).layer(), 1u);
}

TEST(Hybrid, Qwen3NextFilesOf2025HaveTheirPartsInTurns) {
  GgufWriter gguf;
  AddKeys(&gguf, "qwen3next", 2);
  gguf.U32("qwen3next.expert_count", 2).U32("qwen3next.expert_used_count", 1);
  gguf.U32("qwen3next.expert_feed_forward_length", 32);
  gguf.U32("qwen3next.expert_shared_feed_forward_length", 32);
  for (const GgufWriter::Tensor& tensor : TinyQwen35().tensors) {
    const std::string& name = tensor.name;
    const auto is_of = [&](const char* part) { return name.find(part) != std::string::npos; };
    if (!is_of("blk.2.") && !is_of("ffn_") && !is_of("attn_qkv") && !is_of("attn_gate") &&
        !is_of("ssm_alpha") && !is_of("ssm_beta"))
      gguf.Add(tensor);
  }
  AddTensor(&gguf, "blk.0.ssm_in.weight", {kHidden, 2 * kKeys + 2 * kValues}, false);
  AddTensor(&gguf, "blk.0.ssm_ba.weight", {kHidden, 8}, false);
  for (const std::string b : {"blk.0.", "blk.1."}) {
    AddTensor(&gguf, b + "ffn_gate_inp.weight", {kHidden, 2}, true);
    AddTensor(&gguf, b + "ffn_gate_inp_shexp.weight", {kHidden}, true);
    for (const char* part : {"gate", "up", "down"}) {
      AddTensor(&gguf, b + "ffn_" + part + "_exps.weight", {kHidden, kHidden, 2}, false);
      AddTensor(&gguf, b + "ffn_" + part + "_shexp.weight", {kHidden, kHidden}, false);
    }
  }
  const ModelSpec spec = LoadGguf(gguf);
  EXPECT_FALSE(spec.linear_heads_tiled());
  const uint64_t row = kHidden * 2, q = Of(spec, Weight::LINEAR_Q).offset();
  // Of each of two key heads: 32 rows of q, 32 of k, 128 of v, 128 of z.
  const struct {
    Weight::Role role;
    uint32_t first, run;
  } parts[] = {{Weight::LINEAR_Q, 0, 32},
               {Weight::LINEAR_K, 32, 32},
               {Weight::LINEAR_V, 64, 128},
               {Weight::LINEAR_Z, 192, 128}};
  for (const auto& part : parts) {
    const Weight& weight = Of(spec, part.role);
    EXPECT_EQ(weight.offset(), q + part.first * row) << weight.name();
    EXPECT_EQ(weight.run_rows(), part.run);
    EXPECT_EQ(weight.run_stride(), 320u);
  }
  EXPECT_EQ(Of(spec, Weight::LINEAR_BETA_ALPHA).rows(), 8u);
}

TEST(Hybrid, RefusesWhatDoesNotFitTogether) {
  const struct {
    const char* what;
    std::function<void(GgufWriter*)> edit;
    std::vector<std::string> fragments;
  } cases[] = {
      {"heads",
       [](GgufWriter* g) { g->U32("qwen35.ssm.time_step_rank", 5); },
       {"qwen35.ssm.time_step_rank", "multiple of the 2 key heads"}},
      {"width", [](GgufWriter* g) { g->U32("qwen35.ssm.inner_size", 254); }, {"qwen35.ssm.inner_size"}},
      {"no kernel", [](GgufWriter* g) { g->Drop("qwen35.ssm.conv_kernel"); }, {"qwen35.ssm.conv_kernel"}},
      {"long kernel",
       [](GgufWriter* g) { g->U32("qwen35.ssm.conv_kernel", 1000); },
       {"qwen35.ssm.conv_kernel"}},
      {"no conv",
       [](GgufWriter* g) { g->DropTensor("blk.0.ssm_conv1d.weight"); },
       {"missing", "blk.0.ssm_conv1d.weight"}},
      {"short qkv",
       [](GgufWriter* g) { g->At("blk.0.attn_qkv.weight").dims[1] -= 32; },
       {"blk.0.attn_qkv.weight is [352, 32], expected [384, 32]"}},
      {"a bias",
       [](GgufWriter* g) { AddTensor(g, "blk.1.attn_q.bias", {128}, true); },
       {"not supported", "blk.1.attn_q.bias"}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.what);
    GgufWriter gguf = TinyQwen35();
    c.edit(&gguf);
    ExpectBadInput([&] { LoadGguf(gguf); }, c.fragments);
  }
}

}  // namespace
}  // namespace onecopy
