// Architectures that onecopy knows by name and cannot run, and what they would need. When one can be run, its line goes.
#include <string_view>

#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

constexpr const char* kSparse = "sparse attention by an indexer of its own (DeepSeek Sparse Attention)";
constexpr const char* kCompressed =
    "sparse attention over compressed keys, and hyper-connections between layers";
constexpr const char* kKimiDelta =
    "linear attention whose decay differs from channel to channel (Kimi Delta Attention), beside latent "
    "attention";
constexpr const char* kMamba = "state-space layers (Mamba)";
constexpr const char* kVision = "the text model in a directory of a vision model (text_config)";
constexpr const char* kGemma = "GELU, norms behind attention and FFN, and a soft cap of logits";
constexpr const char* kLightning = "lightning attention";

struct Need {
  const char* name;  // of GGUF's general.architecture or config.json's model_type
  const char* what;
};
constexpr Need kNeeds[] = {
    {"deepseek_v32", kSparse},
    {"deepseek32", kSparse},
    {"glm_moe_dsa", kSparse},
    {"glm-dsa", kSparse},
    {"deepseek_v4", kCompressed},
    {"deepseek4", kCompressed},
    {"kimi_linear", kKimiDelta},
    {"kimi-linear", kKimiDelta},
    {"granitemoehybrid", kMamba},
    {"granitehybrid", kMamba},
    {"nemotron_h", kMamba},
    {"nemotron_h_moe", kMamba},
    {"jamba", kMamba},
    {"minimax", kLightning},
    {"kimi_k25", kVision},
    {"glm4v_moe", kVision},
    {"qwen3_vl_moe", kVision},
    {"qwen3vlmoe", "rope over three axes (M-RoPE)"},
    {"gemma2", kGemma},
    {"gemma3", kGemma},
    {"gemma3_text", kGemma},
    {"phi3", "q, k and v in one tensor, and LongRoPE"},
    {"phimoe", "LongRoPE, layer norms, and sparse-mixer routing"},
    {"dbrx", "q, k and v in one tensor, and layer norms"},
    {"grok", "a soft cap of logits, and norms behind attention and FFN"},
};

}  // namespace

const char* WhatFamilyNeeds(const std::string& architecture) {
  for (const Need& need : kNeeds)
    if (architecture == need.name) return need.what;
  return nullptr;
}

}  // namespace onecopy
