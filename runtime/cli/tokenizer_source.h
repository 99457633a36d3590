// The tokenizer of a model on disk: joins runtime/model, which reads files, and runtime/text, which knows
// none.
#pragma once

#include "runtime/model/checkpoint.h"
#include "runtime/text/tokenizer.h"

namespace onecopy::cli {

// Errors: kBadInput, naming the model's path and what is wrong with its tokenizer, or that it has none.
text::Tokenizer MakeTokenizer(const Checkpoint& checkpoint);

}  // namespace onecopy::cli
