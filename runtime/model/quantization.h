// quantization_config of a config.json, and the tensors that hold a quantised matrix in each of its forms.
// Sources: transformers' documentation of fine-grained FP8, AWQ, GPTQ and MXFP4; compressed-tensors' quantization schemes
// and its formats pack-quantized, float-quantized and naive-quantized; AutoAWQ's GEMM and AutoGPTQ's tensor layouts.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "proto/model.pb.h"
#include "runtime/model/checkpoint.h"
#include "runtime/model/model_spec.h"

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

// What does not fit, by kind, in words for a list.
struct TensorProblems {
  std::vector<std::string> missing, wrong_shape, wrong_type;
};

// Whether the checkpoint holds the matrix `name` ("….q_proj.weight", or gpt-oss' "….experts.down_proj") quantised.
bool HasQuantized(const Checkpoint& checkpoint, const Quantization& quantization, const std::string& name);

// Fills type, layout, parts and place of `weight`, whose rows, cols, n_experts, interleave, phase and runs are set, and marks
// the tensors used. `stacked`: the tensors have a first dimension of experts. tensor_rows: of the matrix that they hold, in
// each expert. False when there was a problem.
bool BindQuantized(const Checkpoint& checkpoint, const Quantization& quantization, const std::string& name,
                   bool stacked, uint64_t tensor_rows, proto::Weight* weight, std::vector<bool>* used,
                   TensorProblems* problems);

}  // namespace onecopy
