// The pre-tokenizers that GGUF files name (tokenizer.ggml.pre): what each model's own tokenizer does before
// merging. A constant table. Adding one: a row in pretokenizer_table.cc with the patterns as the model's
// authors published them.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/pre_tokenizer.h"

namespace onecopy::text {

struct PreTokenizerPreset {
  std::array<std::string_view, 8> names;     // unused ones are empty
  std::array<std::string_view, 6> patterns;  // each cuts what the one before left; unused ones are empty
  bool ignore_merges = false;
  bool add_bos = false;  // where the file does not say
  bool nfc = false;      // the text is brought to Unicode normal form C first
};

// nullptr when no row has this name.
const PreTokenizerPreset* FindPreTokenizer(std::string_view name);

// The row that cuts `probe` into the same words as `steps`, and has the same flags; nullptr where none does.
// Errors: as SplitIntoWords.
const PreTokenizerPreset* FindPreTokenizerLike(const std::vector<PreTokenizerStep>& steps, bool ignore_merges,
                                               bool nfc, std::string_view probe);
// The steps of a row.
std::vector<PreTokenizerStep> StepsOf(const PreTokenizerPreset& preset);

// What is missing for a name that is known and has no row, to follow a colon; nullptr for others.
const char* WhatPreTokenizerNeeds(std::string_view name);

// All names, for messages.
std::string PreTokenizerNames();

}  // namespace onecopy::text
