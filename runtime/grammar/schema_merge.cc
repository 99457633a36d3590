// Two schemas that must both hold, as one.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "runtime/base/printable.h"
#include "runtime/grammar/number_range.h"
#include "runtime/grammar/schema_reader.h"

namespace onecopy::grammar {
namespace {

// Both; parts that are null say nothing.
Json AllOf(const Json* a, const Json* b) {
  const auto says_nothing = [](const Json* part) { return part == nullptr || *part == Json(true); };
  if (says_nothing(a)) return b == nullptr ? Json(true) : *b;
  if (says_nothing(b) || *a == *b) return *a;
  if (*a == Json(false) || *b == Json(false)) return false;
  return {{"allOf", Json::array({*a, *b})}};
}

const Json* Get(const Json& schema, const char* keyword) {
  const auto at = schema.find(keyword);
  return at == schema.end() ? nullptr : &*at;
}

const Json* Get(const Json* object, const std::string& name) {
  if (object == nullptr || !object->is_object()) return nullptr;
  const auto at = object->find(name);
  return at == object->end() ? nullptr : &*at;
}

// Types that are in both; an integer is a number.
Json CommonTypes(const Json& a, const Json& b) {
  std::vector<std::string> common;
  const std::vector<std::string> others = TypesOf({{"type", b}});
  const auto has = [](const std::vector<std::string>& types, const char* type) {
    return std::ranges::find(types, type) != types.end();
  };
  for (const std::string& type : TypesOf({{"type", a}})) {
    if (has(others, type.c_str()) || (type == "integer" && has(others, "number")))
      common.push_back(type);
    else if (type == "number" && has(others, "integer"))
      common.push_back("integer");
  }
  return common;
}

Json CommonMultiple(const Json& a, const Json& b, const std::string& path) {
  if (a == b) return a;
  constexpr uint64_t kMax = 1'000'000'000;
  if (!a.is_number_unsigned() || !b.is_number_unsigned() || a.get<uint64_t>() > kMax ||
      b.get<uint64_t>() > kMax || a.get<uint64_t>() == 0 || b.get<uint64_t>() == 0)
    FailAt(path, "multipleOf",
           "two different ones in schemas that must both hold are supported for integers only");
  return std::lcm(a.get<uint64_t>(), b.get<uint64_t>());
}

// A schema that is part of another says itself which properties it knows.
Json Closed(const Json& schema, const std::string& path) {
  if (!schema.is_object() || !schema.contains("unevaluatedProperties")) return schema;
  if (schema.contains("anyOf") || schema.contains("oneOf"))
    FailAt(path, "unevaluatedProperties",
           "it is not supported beside anyOf or oneOf in a part of another schema");
  Json out = schema;
  if (!out.contains("additionalProperties")) out["additionalProperties"] = Json(out["unevaluatedProperties"]);
  out.erase("unevaluatedProperties");
  return out;
}

}  // namespace

void SchemaReader::MergeObjects(const Json& a, const Json& b, Json* out) const {
  const Json *a_properties = Get(a, "properties"), *b_properties = Get(b, "properties");
  const Json *a_rest = Get(a, "additionalProperties"), *b_rest = Get(b, "additionalProperties");
  if (a_properties != nullptr || b_properties != nullptr) {
    Json properties = Json::object();
    for (const Json* from : {a_properties, b_properties}) {
      if (from == nullptr || !from->is_object()) continue;
      for (const auto& [name, schema] : from->items()) {
        if (properties.contains(name)) continue;
        // A property that one does not list is among its additional ones.
        const Json *in_a = Get(a_properties, name), *in_b = Get(b_properties, name);
        properties[name] = AllOf(in_a != nullptr ? in_a : a_rest, in_b != nullptr ? in_b : b_rest);
      }
    }
    (*out)["properties"] = std::move(properties);
  }
  if (a_rest != nullptr || b_rest != nullptr) (*out)["additionalProperties"] = AllOf(a_rest, b_rest);
}

void SchemaReader::MergeArrays(const Json& a, const Json& b, Json* out) const {
  const Json *a_prefix = Get(a, "prefixItems"), *b_prefix = Get(b, "prefixItems");
  const Json *a_items = Get(a, "items"), *b_items = Get(b, "items");
  const size_t a_size = a_prefix == nullptr ? 0 : a_prefix->size(),
               b_size = b_prefix == nullptr ? 0 : b_prefix->size();
  if (a_size + b_size > 0) {
    Json prefix = Json::array();
    for (size_t i = 0; i < std::max(a_size, b_size); ++i)
      prefix.push_back(AllOf(i < a_size ? &(*a_prefix)[i] : a_items, i < b_size ? &(*b_prefix)[i] : b_items));
    (*out)["prefixItems"] = std::move(prefix);
  }
  if (a_items != nullptr || b_items != nullptr) (*out)["items"] = AllOf(a_items, b_items);
}

// A keyword that both have and that is not about parts of objects or arrays.
void SchemaReader::MergeKeyword(const std::string& keyword, const Json& b, const std::string& path,
                                Json* out) const {
  Json& a = (*out)[keyword];
  if (a == b) return;
  if (keyword == "type") {
    a = CommonTypes(a, b);
  } else if (keyword == "enum") {
    std::erase_if(a.get_ref<Json::array_t&>(),
                  [&](const Json& value) { return std::find(b.begin(), b.end(), value) == b.end(); });
  } else if (keyword == "required") {
    for (const Json& name : b)
      if (std::find(a.begin(), a.end(), name) == a.end()) a.push_back(name);
  } else if (keyword.starts_with("min") || keyword == "exclusiveMinimum") {
    if (!a.is_number() || !b.is_number()) FailAt(path, keyword, "expected a number");
    if (Compare(DecimalOf(a), DecimalOf(b)) < 0) a = b;
  } else if (keyword.starts_with("max") || keyword == "exclusiveMaximum") {
    if (!a.is_number() || !b.is_number()) FailAt(path, keyword, "expected a number");
    if (Compare(DecimalOf(a), DecimalOf(b)) > 0) a = b;
  } else if (keyword == "multipleOf") {
    a = CommonMultiple(a, b, path);
  } else {
    FailAt(path, keyword, "two different ones in schemas that must both hold are not supported");
  }
}

Json SchemaReader::Merge(const Json& first, const Json& second, const std::string& path) {
  if (first.is_boolean()) return first.get<bool>() ? second : first;
  if (second.is_boolean()) return second.get<bool>() ? first : second;
  const Json a = Closed(first, path), b = Closed(second, path);
  Spend(a);
  Spend(b);
  Json out = a;
  MergeObjects(a, b, &out);
  MergeArrays(a, b, &out);
  static const std::set<std::string, std::less<>> kParts = {"properties", "additionalProperties", "items",
                                                            "prefixItems"};
  for (const auto& [keyword, value] : b.items()) {
    if (kParts.contains(keyword)) continue;
    if (!a.contains(keyword)) {
      out[keyword] = value;
    } else if (keyword == "anyOf" && a[keyword] != value) {
      Json pairs = Json::array();
      for (const Json& x : a[keyword]) {
        for (const Json& y : value) {
          Spend(x);
          Spend(y);
          pairs.push_back({{"allOf", Json::array({x, y})}});
        }
      }
      out[keyword] = std::move(pairs);
    } else {
      MergeKeyword(keyword, value, path, &out);
    }
  }
  return out;
}

}  // namespace onecopy::grammar
