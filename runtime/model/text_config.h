// The text model in a Hugging Face directory of a model of several modalities: config.json has it as text_config, and the
// names of its tensors have a prefix. Source: transformers' Llama4ForConditionalGeneration and Qwen3_5MoeForConditionalGeneration. Re-entrant.
#pragma once

#include "runtime/model/checkpoint.h"

namespace onecopy {

// Where config.json's model_type is one that is known to be such a model: metadata becomes text_config with what else
// concerns the text (quantization_config, …), tensors get the names that a directory of the text model has, and those of the
// other modalities are left out. Changes nothing otherwise. Errors: kBadInput for a text_config that is no object.
void TakeTextModel(Checkpoint* checkpoint);

}  // namespace onecopy
