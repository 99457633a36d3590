// Reading of JSON schemas: references, drafts' differences, and several schemas as one. Internal to json_schema.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/base/error.h"

namespace onecopy::grammar {

using Json = nlohmann::ordered_json;

template <typename... Args>
[[noreturn]] void FailAt(const std::string& path, std::string_view keyword,
                         fmt::format_string<Args...> format, Args&&... args) {
  Fail(ErrorCode::kUsage, "the JSON schema, '{}' at {}: {}", keyword, path,
       fmt::format(format, std::forward<Args>(args)...));
}

// Like a path in a JSON pointer: "#/properties/a"; cut where it is long.
std::string Below(const std::string& path, std::string_view name);

// The number of a keyword that counts; `otherwise` where it is not there. Above kMaxCounted: that.
// Errors: kUsage when it is no count.
uint32_t CountOf(const Json& schema, const char* keyword, uint32_t otherwise, const std::string& path);
// The types that a schema names, or all; "integer" is also in "number".
std::vector<std::string> TypesOf(const Json& schema);
bool IsType(const Json& value, std::string_view type);

// Not thread-safe; one for a schema.
class SchemaReader {
 public:
  explicit SchemaReader(
      const Json& root);  // which must outlive it. Errors: kUsage when it is too large or deep

  // Errors: kUsage, naming a keyword that is not supported, or what is no schema.
  void CheckKeywords(const Json& schema, const std::string& path) const;
  const Json& Resolve(const Json& reference, const std::string& path) const;
  // A reference and nothing else that matters.
  bool IsReference(const Json& schema) const;

  // One schema, true or false, without $ref and allOf, with the keywords of 2020-12 only: enum for const, prefixItems
  // for lists of items, numbers for boolean exclusive bounds, "null" in type for nullable.
  Json Flatten(const Json& schema, const std::string& path, uint32_t depth);
  // What is valid for both of two flat ones; properties in the order of `a`, then `b`.
  Json Merge(const Json& a, const Json& b, const std::string& path);

  // Counts work, and errors when there is too much.
  void Spend(const Json& copied);

 private:
  Json Normalize(const Json& schema, const std::string& path) const;
  void MergeObjects(const Json& a, const Json& b, Json* out) const;
  void MergeArrays(const Json& a, const Json& b, Json* out) const;
  void MergeKeyword(const std::string& keyword, const Json& b, const std::string& path, Json* out) const;

  const Json& root_;
  uint64_t work_ = 0;
};

}  // namespace onecopy::grammar
