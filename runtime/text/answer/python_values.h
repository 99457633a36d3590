// Values as Python writes them, which is how some models write tool calls and their arguments: [f(a=1, b='x'), g()], True,
// {'a': None}. Free functions without state. Nesting is limited as in JSON. Source: The Python Language Reference, 2.4
// (string literals) and 6.2 (displays); literals only, nothing is computed.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace onecopy::text {

struct PythonCall {
  std::string name;
  nlohmann::ordered_json arguments;  // an object
};

// None where the text is not exactly one literal: a string, number, True, False, None, list, tuple or dict.
std::optional<nlohmann::ordered_json> ParsePythonLiteral(std::string_view text);

// A list of calls, "[f(a=1), g()]". None where it is anything else, or empty.
std::optional<std::vector<PythonCall>> ParsePythonCalls(std::string_view text);

// Finds, byte by byte, where a bracketed Python expression ends. One per expression.
class PythonBrackets {
 public:
  // True after the last bracket is closed.
  bool Push(char c);

 private:
  size_t depth_ = 0;
  char quote_ = 0;  // of the string that is open; 0: none
  bool escaped_ = false;
};

}  // namespace onecopy::text
