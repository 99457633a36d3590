// The sentencepiece kind (GGUF "llama": Llama 2, Mixtral): neighbours are joined while the joined text is a
// token, the one with the highest score first; characters that are no token become byte tokens. Source:
// sentencepiece bpe_model.cc; scores as in tokenizer.ggml.scores.
#pragma once

#include <memory>
#include <vector>

#include "runtime/text/vocabulary.h"
#include "runtime/text/word_encoder.h"

namespace onecopy::text {

// scores: one per token, finite. unknown_id: for what has neither token nor byte tokens; -1 drops it.
WordEncoder MakeSpmEncoder(std::shared_ptr<const Vocabulary> vocabulary, std::vector<float> scores,
                           int32_t unknown_id);

}  // namespace onecopy::text
