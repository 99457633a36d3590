// What is done to a text before it is cut into words: a list of steps, each text to text. Steps are data;
// applying them is thread-safe. Source: Hugging Face tokenizers, normalizers/; Unicode normal forms by
// utf8proc (UAX #15).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace onecopy::text {

struct NormalizerStep {
  enum class Kind { kNfc, kNfd, kNfkc, kNfkd, kPrepend, kReplace };
  Kind kind = Kind::kNfc;
  std::string from;  // kReplace: what to replace, literally
  std::string to;    // kReplace; kPrepend: what to put before a text that is not empty
};

// text: valid UTF-8.
std::string Normalize(const std::vector<NormalizerStep>& steps, std::string_view text);

std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to);

}  // namespace onecopy::text
