// Huge mixture-of-experts models that take no disk: real headers, and weights that are a hole or not there at all.
#pragma once

#include <unistd.h>

#include <cstdlib>
#include <string>

#include "tests/support/gguf_writer.h"

namespace onecopy::test {

// Writes the headers of a published model (a name in model-shapes.json) with make_header_only.py; options as there.
// False when that failed, which it has then said on stderr.
inline bool WriteModelHeaders(const std::string& model, const std::string& path,
                              const std::string& options = "") {
  const std::string command = "python3 " ONECOPY_SOURCE_DIR "/tests/support/make_header_only.py " + model +
                              " " + path + " " + options;
  return std::system(command.c_str()) == 0;
}

struct SparseShape {
  uint64_t layers = 32, hidden = 4096, heads = 32, kv_heads = 8, experts = 64, inter = 14336, vocab = 32000;
};

// GGUF of architecture qwen3moe, all matrices Q4_K. Returns the file's size in bytes.
inline uint64_t WriteSparseModel(const std::string& path, const SparseShape& s) {
  testing::GgufWriter gguf;
  constexpr uint64_t kHeadDim = 128;
  constexpr uint32_t kF32 = 0, kQ4K = 12;
  const auto u32 = [&](const char* key, uint64_t value) {
    gguf.U32(std::string("qwen3moe.") + key, static_cast<uint32_t>(value));
  };
  gguf.Text("general.architecture", "qwen3moe");
  u32("block_count", s.layers);
  u32("context_length", 32768);
  u32("embedding_length", s.hidden);
  u32("feed_forward_length", s.inter);
  u32("attention.head_count", s.heads);
  u32("attention.head_count_kv", s.kv_heads);
  u32("attention.key_length", kHeadDim);
  u32("attention.value_length", kHeadDim);
  u32("expert_count", s.experts);
  u32("expert_used_count", 8);
  u32("expert_feed_forward_length", s.inter);
  u32("vocab_size", s.vocab);
  gguf.F32("qwen3moe.rope.freq_base", 1e6f).F32("qwen3moe.attention.layer_norm_rms_epsilon", 1e-6f);

  uint64_t at = 0;
  const auto add = [&](const std::string& name, std::vector<uint64_t> dims, uint32_t type) {
    uint64_t elements = 1;
    for (uint64_t dim : dims) elements *= dim;
    gguf.Add({name, std::move(dims), type, "", at});
    at += (type == kF32 ? elements * 4 : elements / 256 * 144) / 32 * 32 + 32;
  };
  add("token_embd.weight", {s.hidden, s.vocab}, kQ4K);
  add("output_norm.weight", {s.hidden}, kF32);
  add("output.weight", {s.hidden, s.vocab}, kQ4K);
  for (uint64_t l = 0; l < s.layers; ++l) {
    const std::string p = "blk." + std::to_string(l) + ".";
    add(p + "attn_norm.weight", {s.hidden}, kF32);
    add(p + "ffn_norm.weight", {s.hidden}, kF32);
    add(p + "attn_q.weight", {s.hidden, s.heads * kHeadDim}, kQ4K);
    add(p + "attn_k.weight", {s.hidden, s.kv_heads * kHeadDim}, kQ4K);
    add(p + "attn_v.weight", {s.hidden, s.kv_heads * kHeadDim}, kQ4K);
    add(p + "attn_output.weight", {s.heads * kHeadDim, s.hidden}, kQ4K);
    add(p + "attn_q_norm.weight", {kHeadDim}, kF32);
    add(p + "attn_k_norm.weight", {kHeadDim}, kF32);
    add(p + "ffn_gate_inp.weight", {s.hidden, s.experts}, kF32);
    add(p + "ffn_gate_exps.weight", {s.hidden, s.inter, s.experts}, kQ4K);
    add(p + "ffn_up_exps.weight", {s.hidden, s.inter, s.experts}, kQ4K);
    add(p + "ffn_down_exps.weight", {s.inter, s.hidden, s.experts}, kQ4K);
  }
  gguf.Write(path);
  const uint64_t size = gguf.Build().size() + at;
  if (truncate(path.c_str(), static_cast<off_t>(size)) != 0) return 0;
  return size;
}

}  // namespace onecopy::test
