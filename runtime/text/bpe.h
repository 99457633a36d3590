// Byte-pair encoding with a ranked list of merges, over bytes (GPT-2 and its descendants) or over characters
// with bytes as the last resort (Mixtral's tokenizer.json). Source: GPT-2 encoder.py; Hugging Face
// tokenizers, models/bpe (ignore_merges, byte_fallback, fuse_unk).
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/text/vocabulary.h"
#include "runtime/text/word_encoder.h"

namespace onecopy::text {

struct BpeOptions {
  bool byte_level = true;      // the vocabulary is in the byte alphabet; else in UTF-8
  bool ignore_merges = false;  // a word that is a token needs no merges (Llama 3)
  bool byte_fallback = false;  // a character that is no token becomes "<0xE4>" tokens
  bool fuse_unknown = false;   // unknown characters in a row become one unknown token
  int32_t unknown_id = -1;     // -1: what has no token is dropped, as the reference does
};

// merges: left and right token, best first. where: the field, for messages.
// Errors: kBadInput when a merge names, or makes, a token that the vocabulary does not have.
WordEncoder MakeBpeEncoder(std::shared_ptr<const Vocabulary> vocabulary,
                           std::span<const std::pair<std::string, std::string>> merges,
                           const BpeOptions& options, std::string_view where);

}  // namespace onecopy::text
