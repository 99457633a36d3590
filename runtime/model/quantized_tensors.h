// The tensors that hold a quantised matrix, in each form that quantization_config (quantization.h) names.
// Sources: compressed-tensors' formats pack-quantized, float-quantized and naive-quantized; AutoAWQ's GEMM and AutoGPTQ's
// tensor layouts; transformers' fine-grained FP8 and MXFP4.
#pragma once

#include <string>
#include <vector>

#include "proto/model.pb.h"
#include "runtime/model/checkpoint.h"
#include "runtime/model/quantization.h"

namespace onecopy {

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
