// GBNF, llama.cpp's notation of grammars, to rules. A pure function of its text. Source: grammars/README.md of
// llama.cpp; its token references (<[123]>, <think>) are not supported.
#pragma once

#include <string_view>

#include "runtime/grammar/expression.h"

namespace onecopy::grammar {

inline constexpr size_t kMaxGbnfBytes = size_t{256} << 10;
inline constexpr size_t kMaxGbnfRules = 10'000;
inline constexpr uint32_t kMaxRepetitions = 10'000;  // the numbers in { }
inline constexpr uint32_t kMaxGroupDepth = 100;

// Appends the rules and returns which is `root`.
// Errors: kUsage, with line and column, when the text is not GBNF, has no rule `root`, uses a rule that it does not
// define, or passes a limit above.
uint32_t ParseGbnf(std::string_view text, Rules* rules);

}  // namespace onecopy::grammar
