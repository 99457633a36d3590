// Which tensor gets which type when a model is quantised, to a file or while it is loaded: one row of a table per name that
// `quantize --type` and `--weights` take.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/types.h"
#include "proto/model.pb.h"
#include "runtime/model/checkpoint.h"

namespace onecopy::cli {

struct QuantizeRecipe {
  const char* name;                 // as --type takes it
  uint32_t file_type;               // llama.cpp's llama_ftype
  kernels::WeightType type;         // of matrices
  kernels::WeightType output_type;  // of the matrix that gives the logits
  // Of the value projections and the down projections of half of the layers, as llama.cpp's _M mixtures have it; kCount: `type`.
  kernels::WeightType more_type = kernels::WeightType::kCount;
  // Of matrices outside the experts; kCount: `type`.
  kernels::WeightType dense_type = kernels::WeightType::kCount;
};

const std::vector<QuantizeRecipe>& QuantizeRecipes();
// "f16, bf16, …"
std::string QuantizeRecipeNames();
// option: for the message. Errors: kUsage naming the recipes.
const QuantizeRecipe& FindQuantizeRecipe(const std::string& name, const char* option);

// The type of each tensor of the checkpoint, in its order. Vectors, routers and what is no weight stay as they are; rows that
// are no whole super-blocks take the type of 32-column blocks that llama.cpp takes in its place, and rows that are not even
// that stay as they are. Errors: kBadInput for a tensor that has less than 8 bits and would be quantised again.
std::vector<const kernels::TypeInfo*> QuantizedTypes(const Checkpoint& checkpoint,
                                                     const QuantizeRecipe& recipe);

// Gives spec's matrices the types that they would have after `quantize` with this recipe: the loader then makes them. spec:
// BuildModelSpec of the checkpoint. Errors: as QuantizedTypes.
void QuantizeWhileLoading(const Checkpoint& checkpoint, const QuantizeRecipe& recipe, proto::ModelSpec* spec);

}  // namespace onecopy::cli
