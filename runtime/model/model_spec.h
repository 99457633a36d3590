// From a checkpoint to a ModelSpec, by its family. A family is data: one file in families/ and one row in the
// table of model_spec.cc.
#pragma once

#include <string>
#include <vector>

#include "proto/model.pb.h"
#include "runtime/model/checkpoint.h"

namespace onecopy {

// A family's answer to "which tensors of this checkpoint are which weights of the model".
struct Family {
  const char* name;                             // "qwen3moe"
  std::vector<const char*> gguf_architectures;  // values of general.architecture
  std::vector<const char*> hf_model_types;      // values of config.json's model_type
  // Fills the spec's hyper-parameters from checkpoint.metadata; throws kBadInput for a missing or absurd one.
  void (*read_parameters)(const Checkpoint& checkpoint, proto::ModelSpec* spec);
  // One row a weight role: tensor name patterns; "{L}" is the layer, "{E}" the expert. A pattern without {E}
  // for an expert role means stacked experts. An empty pattern: the format has no such tensor.
  struct TensorRow {
    proto::Weight::Role role;
    const char* gguf;
    const char* hf;
    bool optional = false;  // in all layers that have the role, or in none
    // Whether this model has the weight at all, where that depends on its parameters or on the form of the file.
    bool (*applies)(const Checkpoint& checkpoint, const proto::ModelSpec& spec) = nullptr;
    // Hugging Face, and GGUF where the row has no name of Hugging Face's: the rows (of a vector: elements) of n_parts weights
    // stand in one tensor, in each expert of it: one weight below the other, or in turns. This is the part-th.
    uint32_t part = 0, n_parts = 1;
    bool turns = false;
    // Both formats: the weight's rows are some of the tensor's, in that many runs of equal length (LINEAR_Q in in_proj_qkvz).
    // Null: all of them.
    struct Runs {
      uint64_t tensor_rows = 0, first_row = 0;
      uint32_t run_rows = 0, run_stride = 0;  // 0: one run
    };
    Runs (*runs)(const proto::ModelSpec& spec) = nullptr;
    proto::Weight::Change hf_change = proto::Weight::AS_IT_IS;  // of directories; GGUF files have it done
    // Hugging Face: the tensor is the weight's transpose, [cols, rows], and of n_parts weights [cols, n_parts * rows].
    bool transposed = false;
  };
  std::vector<TensorRow> tensors;
  // Where several families have an architecture's name: whether it is this one. Null: it is.
  bool (*answers)(const Checkpoint& checkpoint) = nullptr;
  // Hugging Face: beginnings of names of what is left out without a word (multi-token prediction).
  std::vector<const char*> hf_left_out = {};
};

// All families, for messages and `doctor`.
const std::vector<Family>& AllFamilies();

// Errors: kBadInput for an unknown architecture (lists the known), a missing, extra-typed or wrongly shaped
// tensor, or parameters that contradict each other; all problems of one kind are reported together.
proto::ModelSpec BuildModelSpec(const Checkpoint& checkpoint);

// What of the model the engine cannot compute yet, in words ("sigmoid gating"); empty: all of it can be run.
// BuildModelSpec puts it into ModelSpec.not_runnable.
std::vector<std::string> WhatCannotRun(const proto::ModelSpec& spec);

// Errors: kBadInput when spec.not_runnable is not empty, naming model, family and what is missing.
void RequireRunnable(const proto::ModelSpec& spec);

// Expected shape {rows, cols} of a role in a layer of this model (vectors: {1, n}); one expert for expert roles.
struct RoleShape {
  uint64_t rows, cols;
};
RoleShape ShapeOfRole(const proto::ModelSpec& spec, proto::Weight::Role role, uint32_t layer = 0);
bool IsSlidingLayer(const proto::ModelSpec& spec, uint32_t layer);
// Key-value heads of a layer, and of the layer that has most.
uint32_t KvHeadsOf(const proto::ModelSpec& spec, uint32_t layer);
uint32_t MostKvHeads(const proto::ModelSpec& spec);
// Elements of a head's value.
uint32_t ValueDim(const proto::ModelSpec& spec);
// The name that llama.cpp's files have for a role's tensor in a layer: of all experts, where it is of experts. Empty where
// none of the families says one.
std::string GgufNameOf(const std::string& family, proto::Weight::Role role, uint32_t layer);
bool IsVectorRole(proto::Weight::Role role);
bool IsExpertRole(proto::Weight::Role role);
bool IsDenseLayer(const proto::ModelSpec& spec, uint32_t layer);
// Linear attention in place of the other.
bool IsLinearLayer(const proto::ModelSpec& spec, uint32_t layer);
// The heads of a role whose tensor has them as its outermost dimension, [heads, rows / heads, cols]; 0 for others.
uint64_t HeadsOfShape(const proto::ModelSpec& spec, proto::Weight::Role role);
// False for weights of an FFN that the layer does not have: experts, router, shared experts or a dense FFN; and of the
// attention that it does not have.
bool LayerHasRole(const proto::ModelSpec& spec, proto::Weight::Role role, uint32_t layer);

}  // namespace onecopy
