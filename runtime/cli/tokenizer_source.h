// The tokenizer of a model on disk: joins runtime/model, which reads files, and runtime/text, which knows
// none.
#pragma once

#include "runtime/model/checkpoint.h"
#include "runtime/text/tokenizer.h"

namespace onecopy::cli {

// Errors: kBadInput, naming the model's path and what is wrong with its tokenizer, or that it has none.
text::Tokenizer MakeTokenizer(const Checkpoint& checkpoint);

// The keys tokenizer.* of a GGUF file that says the same as the directory, with a token for each of vocab_size ids; without
// a tokenizer none, with a warning. Errors: as MakeTokenizer, also for what GGUF cannot say.
nlohmann::json GgufTokenizerKeys(const Checkpoint& checkpoint, uint32_t vocab_size);

}  // namespace onecopy::cli
