// WordEncoder: the seam between a tokenizer and its kind of model. Given one word (a piece that the
// pre-tokenizer cut off, valid UTF-8, not empty) it appends the word's ids. Safe to call from several
// threads, each with its own scratch. Adding a kind: a file that makes one from a vocabulary, and a row in
// the table of tokenizer_gguf.cc or tokenizer_hf.cc.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "runtime/text/merge.h"

namespace onecopy::text {

using WordEncoder =
    std::function<void(std::string_view word, MergeScratch* scratch, std::vector<int32_t>* ids)>;

}  // namespace onecopy::text
