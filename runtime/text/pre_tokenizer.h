// Pre-tokenizer: cuts a text into the words that merges never cross. A list of steps, each applied to every
// piece that the step before left. Immutable, thread-safe. Source: Hugging Face tokenizers, pre_tokenizers/.
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/regex.h"

namespace onecopy::text {

struct PreTokenizerStep {
  enum class Kind {
    kIsolate,        // matches of the regex and the gaps between them are pieces
    kRemove,         // only the gaps are
    kMatchesOnly,    // only the matches are (a Split with "invert" and "Removed")
    kMergeWithNext,  // a match belongs to the gap after it
    kMergeWithPrevious,
    kPrefix,       // `text` before every piece that does not begin with it
    kPrefixFirst,  // the same, only where the whole text begins
    kReplace,      // every space by `text`
  };
  Kind kind = Kind::kIsolate;
  std::optional<Regex> regex;
  std::string text;
};

// Pieces may point into `text` of the call, or into `owned` when a step changed them.
struct Words {
  std::vector<std::string_view> pieces;  // none is empty
  std::deque<std::string> owned;
};

// text: valid UTF-8, outlives the result. at_start: nothing precedes it in what the user gave.
// Errors: kBadInput when a regular expression runs away (see Regex::Find).
Words SplitIntoWords(const std::vector<PreTokenizerStep>& steps, std::string_view text, bool at_start,
                     RegexScratch& scratch);

}  // namespace onecopy::text
