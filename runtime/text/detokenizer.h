// Detokenizer: the text of a stream of tokens, as it becomes certain. One per stream; not thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "runtime/text/tokenizer.h"

namespace onecopy::text {

struct DetokenizerOptions {
  bool skip_special = true;  // control tokens are not part of the text
  // The stream is a whole text rather than the continuation of a prompt: the space that sentencepiece puts
  // before a text is taken away again.
  bool at_text_start = false;
};

class Detokenizer {
 public:
  Detokenizer(Tokenizer tokenizer, const DetokenizerOptions& options)
      : tokenizer_(std::move(tokenizer)),
        options_(options),
        strip_space_(options.at_text_start && tokenizer_.strips_leading_space()) {}

  // What `id` adds to the text: whole characters of valid UTF-8, maybe none. Bytes that can no longer become
  // a character are U+FFFD.
  std::string Push(int32_t id);
  // The end of the stream: the rest, an unfinished character as U+FFFD. The detokenizer can then be used
  // again.
  std::string Flush();

 private:
  Tokenizer tokenizer_;
  DetokenizerOptions options_;
  bool strip_space_;
  std::string pending_;  // the beginning of a character, at most three bytes between calls
};

}  // namespace onecopy::text
