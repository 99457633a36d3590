// JsonScanner: whether a text that arrives byte by byte is still the beginning of one JSON object or array, and where that
// ends. Keeps no text, so its memory is a bit for each open bracket. One per value; not thread-safe. Source: RFC 8259.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <vector>

namespace onecopy::text {

// Deeper values are refused: what writes JSON out again recurses, and nothing useful is nested so deeply.
inline constexpr size_t kMaxJsonDepth = 64;
// Objects that keep the order of their keys look keys up one by one; more would take a hostile text's time to the square.
inline constexpr size_t kMaxJsonKeys = 10000;

class JsonScanner {
 public:
  enum class State { kMore, kDone, kBad };

  // After kDone or kBad nothing more may be pushed. Control characters inside of a string are accepted, though JSON wants
  // them escaped, since models write line breaks there; a caller who needs strict JSON escapes them (in_string).
  State Push(char c);
  bool in_string() const { return place_ == Place::kString; }
  // Brackets that are open.
  size_t depth() const { return open_.size(); }

 private:
  enum class Place {
    kStart,       // the outermost bracket
    kValue,       // a value must follow
    kFirstValue,  // a value, or the end of an array
    kKey,         // a key must follow
    kFirstKey,    // a key, or the end of an object
    kColon,
    kAfterValue,
    kString,
    kEscape,
    kHex,
    kNumber,
    kLiteral,
  };
  State Value(char c);
  State Close(char c);
  bool Number(char c);
  void EndString();

  Place place_ = Place::kStart;
  std::vector<bool> open_;  // true: an object
  bool is_key_ = false;     // the string is one
  size_t num_keys_ = 0;
  int hex_left_ = 0;               // digits of \u that are missing
  char number_ = 0;                // what was read of a number last, by kind
  std::string_view literal_left_;  // of true, false, null
};

// The value of a whole text; none where it is not JSON or is nested too deeply.
std::optional<nlohmann::ordered_json> ParseJson(std::string_view text);

}  // namespace onecopy::text
