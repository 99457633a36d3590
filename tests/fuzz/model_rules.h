// What holds for a checkpoint, a model and a tokenizer that were taken from files of strangers.
#pragma once

#include <functional>

#include "runtime/model/checkpoint.h"
#include "runtime/text/tokenizer.h"
#include "tests/fuzz/support.h"

namespace onecopy::fuzz {

// Tensors lie within their files and apart from each other.
void CheckTensors(const Checkpoint& checkpoint);

// The model is refused, or its weights lie within the files.
void CheckModel(const Checkpoint& checkpoint);

// The tokenizer is refused, or turns some texts into ids of its vocabulary, and these into text.
void CheckTokenizer(const std::function<text::Tokenizer()>& make, std::string_view text = {});

}  // namespace onecopy::fuzz
