// Reading fields of JSON that somebody else wrote: every accessor checks kind and range, and its message
// names the field. Free functions. `where` is the path of `object`, as in "tokenizer.json: model".
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/error.h"

namespace onecopy::text {

using Json = nlohmann::json;

// The member, or a null when there is none (or `object` is no object): absent and null mean the same in these
// files.
inline const Json& Member(const Json& object, std::string_view key) {
  static const Json null;
  if (!object.is_object()) return null;
  const auto it = object.find(key);
  return it == object.end() ? null : *it;
}

inline bool BoolField(const Json& object, std::string_view key, bool fallback, std::string_view where) {
  const Json& value = Member(object, key);
  if (value.is_null()) return fallback;
  if (!value.is_boolean())
    Fail(ErrorCode::kBadInput, "{}.{} is a {}, expected a bool", where, key, value.type_name());
  return value.get<bool>();
}

// Empty when absent.
inline std::optional<std::string> StringField(const Json& object, std::string_view key,
                                              std::string_view where) {
  const Json& value = Member(object, key);
  if (value.is_null()) return std::nullopt;
  if (!value.is_string())
    Fail(ErrorCode::kBadInput, "{}.{} is a {}, expected a string", where, key, value.type_name());
  return value.get<std::string>();
}

inline const Json& ArrayField(const Json& object, std::string_view key, std::string_view where) {
  const Json& value = Member(object, key);
  if (!value.is_array())
    Fail(ErrorCode::kBadInput, "{}.{} is a {}, expected an array", where, key, value.type_name());
  return value;
}

// A token id: an integer in [0, limit). where(): the path of the value itself, only asked for when it is
// wrong, as vocabularies have 100 000 and more.
template <typename Where>
int32_t TokenId(const Json& value, int64_t limit, const Where& where) {
  // Unsigned first: get<int64_t> of 2^63 and more would wrap.
  const bool in_range = value.is_number_unsigned() ? value.get<uint64_t>() < static_cast<uint64_t>(limit)
                                                   : value.is_number_integer() && value.get<int64_t>() >= 0 &&
                                                         value.get<int64_t>() < limit;
  if (!in_range) {
    Fail(ErrorCode::kBadInput, "{} is {}, expected a token id from 0 to {}", where(),
         value.is_number() ? value.dump() : value.type_name(), limit - 1);
  }
  return value.get<int32_t>();
}

}  // namespace onecopy::text
