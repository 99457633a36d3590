// Hugging Face model directories: config.json, safetensors files with or without an index, and the
// tokenizer's files. Source: the layout that transformers' save_pretrained writes.
#pragma once

#include <string>

#include "runtime/model/checkpoint.h"

namespace onecopy {

// Errors: kBadInput, naming the file.
Checkpoint OpenHuggingFace(const std::string& directory, Data data);

}  // namespace onecopy
