// Log-probabilities of tokens, from the logits of a step. Pure.
#pragma once

#include <span>

#include "runtime/serve/sequence.h"

namespace onecopy::serve {

// logits: of the whole vocabulary, finite or -infinity. n_top: how many of the most likely; of equal ones the lower ids.
Logprobs LogprobsOf(std::span<const float> logits, int32_t token, int n_top);

}  // namespace onecopy::serve
