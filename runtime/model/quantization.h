// quantization_config of a config.json: how matrices are quantised. Which tensors then hold one: quantized_tensors.h.
// Sources: transformers' documentation of fine-grained FP8, AWQ, GPTQ and MXFP4; compressed-tensors' quantization schemes.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace onecopy {

struct Quantization {
  enum class Method { kNone, kMxfp4, kF8, kPacked, kAwq, kGptq };
  Method method = Method::kNone;
  // Rows and columns that a scale covers; 0: all.
  uint32_t block_rows = 0, block_cols = 0;
  uint32_t bits = 4;          // of a code of kPacked, kAwq, kGptq: 4 or 8
  bool symmetric = true;      // kPacked: no zeros; kGptq, 8 bits: all zeros are 128
  bool act_order = false;     // kPacked, kGptq: a tensor says which group each column is of
  uint32_t zero_offset = 0;   // kGptq: the files hold zeros less this
  std::string name = "none";  // as config.json has it, for messages
};

// From config.json. A problem for what is not supported, in words that follow "quantization_config: ".
Quantization ReadQuantization(const nlohmann::json& config, std::vector<std::string>* problems);

}  // namespace onecopy
