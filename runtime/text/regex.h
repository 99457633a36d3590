// Regex: a compiled pattern of a pre-tokenizer. Published patterns are written for Oniguruma (tokenizer.json)
// or fancy-regex (tiktoken); they run on PCRE2 here, after the few constructs that mean something else there
// have been rewritten or refused. Immutable and shareable between threads; a RegexScratch belongs to one
// thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace onecopy::text {

// Match memory, reused from call to call.
class RegexScratch {
 public:
  RegexScratch();
  ~RegexScratch();
  RegexScratch(const RegexScratch&) = delete;
  RegexScratch& operator=(const RegexScratch&) = delete;

 private:
  friend class Regex;
  struct State;
  std::unique_ptr<State> state_;
};

class Regex {
 public:
  struct Match {
    size_t begin = 0, end = 0;  // bytes
  };

  // where: the file and field, for messages. Errors: kBadInput when the pattern is wrong or outside what is
  // supported.
  Regex(std::string_view pattern, std::string_view where);

  // The first match at or after `offset`; text must be valid UTF-8 and offset a character's first byte.
  // Errors: kBadInput when the search takes more steps than any published pattern needs (a hostile pattern or
  // text).
  std::optional<Match> Find(std::string_view text, size_t offset, RegexScratch& scratch) const;

 private:
  std::shared_ptr<void> code_;  // pcre2_code
  std::string where_;
};

// The pattern with every meta character escaped.
std::string EscapeRegex(std::string_view literal);

// The rewriting that the constructor does: class intersections [a&&[^b]] become look-aheads, and \s excludes
// U+180E, which PCRE2 counts as white space and the others do not. Errors: kBadInput for nested classes and
// for \h, which differ and are not rewritten.
std::string TranslateRegex(std::string_view pattern, std::string_view where);

}  // namespace onecopy::text
