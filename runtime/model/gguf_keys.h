// The keys of a GGUF file for a model whose hyper-parameters came from a Hugging Face directory: what llama.cpp's converter
// would write, as far as both programs read it. Source: llama.cpp's gguf-py/constants.py and convert_hf_to_gguf.py.
#pragma once

#include <nlohmann/json.hpp>

#include "proto/model.pb.h"

namespace onecopy {

// How a family's models look as GGUF files.
struct GgufForm {
  const char* family;
  const char* architecture;
  // Rows of q and k are put in another order within each head, so that rope turns neighbouring pairs.
  bool interleaves_rope = false;
  // Experts are as wide as feed_forward_length says.
  bool expert_width_is_ffn = false;
};

// Errors: kBadInput for a family whose form as GGUF is not known here; names those that are.
const GgufForm& GgufFormOf(const proto::ModelSpec& spec);

// general.* and ARCHITECTURE.*; what GGUF has no key for is left out: SpecDifferences finds it.
nlohmann::json GgufKeysOf(const proto::ModelSpec& spec);

// What hyper-parameters of the model differ in the file that was written for it; empty: none.
std::string SpecDifferences(const proto::ModelSpec& directory, const proto::ModelSpec& file);

}  // namespace onecopy
