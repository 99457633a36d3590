// What a Tokenizer is made of; filled by tokenizer_gguf.cc and tokenizer_hf.cc, read by tokenizer.cc. Private
// to text/.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "runtime/text/added_tokens.h"
#include "runtime/text/normalizer.h"
#include "runtime/text/pre_tokenizer.h"
#include "runtime/text/vocabulary.h"
#include "runtime/text/word_encoder.h"

namespace onecopy::text {

struct TokenizerParts {
  std::shared_ptr<const Vocabulary> vocabulary;
  std::vector<std::string> pieces;  // by id: the bytes that a token stands for

  AddedTokenMatcher added;             // looked for in the text as given
  AddedTokenMatcher added_normalized;  // looked for after the normaliser
  std::vector<NormalizerStep> normalizer;
  std::vector<PreTokenizerStep> pre_tokenizer;
  WordEncoder encode_word;
  std::vector<int32_t> before, after;  // ids around every text: BOS, EOS

  int32_t bos = -1, eos = -1, eot = -1;
  std::vector<int32_t> end_of_generation;
  std::vector<std::pair<std::string, std::string>> chat_templates;  // name, source
  std::vector<std::pair<std::string, std::string>> named_tokens;    // "bos_token", its text
  bool strips_leading_space = false;
};

// The bytes of every token of a sentencepiece vocabulary: U+2581 is a space, "<0xE4>" a byte if byte_fallback, control
// tokens as written.
std::vector<std::string> SentencePieces(const Vocabulary& vocabulary, bool byte_fallback);
// Of a byte-level vocabulary: normal tokens are in the byte alphabet, added ones as written. (tokenizers decodes these
// too, and so shows an added token "é" as a broken byte; llama.cpp does as we do.)
std::vector<std::string> ByteLevelPieces(const Vocabulary& vocabulary);

// Adds to parts->end_of_generation the control and user-defined tokens that are known by name to end a turn
// or a text.
void AddWellKnownEnds(TokenizerParts* parts);
// Sorts, and removes doubles.
void FinishEnds(TokenizerParts* parts);

inline constexpr std::string_view kSpaceMark =
    "\xE2\x96\x81";  // U+2581, a space in sentencepiece vocabularies

}  // namespace onecopy::text
