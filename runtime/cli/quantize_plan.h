// What `quantize` writes: the pairs and tensors of the new file, and of which weights of the model each tensor is made.
#pragma once

#include <vector>

#include "proto/model.pb.h"
#include "runtime/cli/quantize_recipe.h"
#include "runtime/model/checkpoint.h"
#include "runtime/model/gguf_writer.h"

namespace onecopy::cli {

struct QuantizedTensor {
  // Rows follow each other: of an expert after those of the one before. `type` is what they become (shard/source.h).
  std::vector<proto::Weight> weights;
  // Not 0: the rows of each run of so many (a vector's elements) are put in the order that rope over neighbours wants: from
  // 0 1 2 … to 0 n/2 1 n/2+1 ….
  uint32_t interleaved_rows = 0;
};

struct QuantizePlan {
  proto::ModelSpec files;  // paths and sizes
  GgufLayout layout;
  std::vector<QuantizedTensor> tensors;  // as layout.tensors
};

// Of a GGUF file: the same tensors and metadata, in other types. Of a directory: a GGUF file as llama.cpp's converter and
// llama-quantize would make it; that it says the same as the directory is checked. out: where the file will be, beside
// which its header is written for that check. Errors: kBadInput.
QuantizePlan PlanQuantize(const Checkpoint& checkpoint, const QuantizeRecipe& recipe, const std::string& out);

}  // namespace onecopy::cli
