// The formats of JSON Schema validation 2020-12, section 7.3, as patterns. Narrower than their definitions where that
// keeps them short: years from 1000, host names with letters, seconds to 59.
#include <algorithm>
#include <array>

#include "runtime/grammar/pattern.h"

namespace onecopy::grammar {
namespace {

#define DATE_PATTERN                                                                                       \
  "([1-9][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"           \
  "02-(0[1-9]|1[0-9]|2[0-8]))|([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)-02-" \
  "29)"
#define TIME_PATTERN \
  "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
#define LABEL_PATTERN "[a-zA-Z]([a-zA-Z0-9-]{0,30}[a-zA-Z0-9])?"
#define HOST_PATTERN LABEL_PATTERN "(\\." LABEL_PATTERN "){0,6}"
#define PATH_CHARACTERS_PATTERN "[A-Za-z0-9._~!$&'()*+,;=:@-]"
#define BYTE_PATTERN "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
#define H16_PATTERN "[0-9a-fA-F]{1,4}"
#define TIME_OF_DAY_PATTERN "T([0-9]{1,4}H([0-9]{1,4}M([0-9]{1,4}S)?)?|[0-9]{1,4}M([0-9]{1,4}S)?|[0-9]{1,4}S)"

struct Format {
  std::string_view name, pattern;
};

constexpr Format kFormats[] = {
    {"date", "^" DATE_PATTERN "$"},
    {"time", "^" TIME_PATTERN "$"},
    {"date-time", "^" DATE_PATTERN "T" TIME_PATTERN "$"},
    {"duration",
     "^P([0-9]{1,4}W|" TIME_OF_DAY_PATTERN
     "|([0-9]{1,4}Y([0-9]{1,4}M([0-9]{1,4}D)?)?|[0-9]{1,4}M([0-9]{1,4}D)?|[0-9]{1,4}D)(" TIME_OF_DAY_PATTERN
     ")?)$"},
    {"uuid", "^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"},
    {"email",
     "^[a-zA-Z0-9_+-]{1,32}(\\.[a-zA-Z0-9_+-]{1,32}){0,2}@" LABEL_PATTERN "(\\." LABEL_PATTERN "){1,4}$"},
    {"hostname", "^" HOST_PATTERN "$"},
    {"ipv4", "^" BYTE_PATTERN "(\\." BYTE_PATTERN "){3}$"},
    {"ipv6", "^((" H16_PATTERN ":){7}" H16_PATTERN "|(" H16_PATTERN ":){6}:" H16_PATTERN "|(" H16_PATTERN
             ":){5}(:" H16_PATTERN "){1,2}|(" H16_PATTERN ":){4}(:" H16_PATTERN "){1,3}|(" H16_PATTERN
             ":){3}(:" H16_PATTERN "){1,4}|(" H16_PATTERN ":){2}(:" H16_PATTERN "){1,5}|" H16_PATTERN
             ":(:" H16_PATTERN "){1,6}|:(:" H16_PATTERN "){1,7}|(" H16_PATTERN ":){1,7}:|::)$"},
    {"uri", "^[a-zA-Z][a-zA-Z0-9+.-]{1,15}://" HOST_PATTERN "(:[1-9][0-9]{0,3})?(/" PATH_CHARACTERS_PATTERN
            "{0,64}){0,16}(\\?" PATH_CHARACTERS_PATTERN "{0,256})?(#" PATH_CHARACTERS_PATTERN "{0,64})?$"},
};
constexpr std::string_view kUriLike[] = {"uri-reference", "iri", "iri-reference"};  // every URI is one
constexpr std::string_view kUnsupported[] = {"uri-template", "json-pointer", "relative-json-pointer", "regex",
                                             "color"};

}  // namespace

std::optional<std::string_view> PatternOfFormat(std::string_view format) {
  if (std::ranges::find(kUriLike, format) != std::end(kUriLike)) format = "uri";
  if (format == "idn-email") format = "email";
  if (format == "idn-hostname") format = "hostname";
  const auto at = std::ranges::find(kFormats, format, &Format::name);
  if (at == std::end(kFormats)) return std::nullopt;
  return at->pattern;
}

bool IsUnsupportedFormat(std::string_view format) {
  return std::ranges::find(kUnsupported, format) != std::end(kUnsupported);
}

}  // namespace onecopy::grammar
