#include "runtime/grammar/schema_reader.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>

#include "runtime/base/printable.h"
#include "runtime/grammar/json_schema.h"

namespace onecopy::grammar {
namespace {

constexpr const char* kTypes[] = {"null", "boolean", "object", "array", "number", "integer", "string"};

// What says something about a value here; all else is an annotation, or unknown and without effect as the standard
// has it.
const std::set<std::string, std::less<>> kKeywords = {"type",
                                                      "enum",
                                                      "const",
                                                      "properties",
                                                      "required",
                                                      "additionalProperties",
                                                      "minProperties",
                                                      "maxProperties",
                                                      "unevaluatedProperties",
                                                      "items",
                                                      "prefixItems",
                                                      "additionalItems",
                                                      "minItems",
                                                      "maxItems",
                                                      "minLength",
                                                      "maxLength",
                                                      "pattern",
                                                      "format",
                                                      "minimum",
                                                      "maximum",
                                                      "exclusiveMinimum",
                                                      "exclusiveMaximum",
                                                      "multipleOf",
                                                      "anyOf",
                                                      "oneOf",
                                                      "allOf",
                                                      "$ref",
                                                      "nullable"};
// What would forbid values that a grammar of the rest allows.
constexpr const char* kUnsupportedKeywords[] = {"not",
                                                "if",
                                                "patternProperties",
                                                "propertyNames",
                                                "dependentRequired",
                                                "dependentSchemas",
                                                "dependencies",
                                                "contains",
                                                "unevaluatedItems",
                                                "$dynamicRef",
                                                "$recursiveRef",
                                                "extends",
                                                "disallow",
                                                "divisibleBy"};

uint32_t CountNodes(const Json& value, uint32_t depth) {
  if (depth > kMaxSchemaDepth)
    Fail(ErrorCode::kUsage, "the JSON schema is nested too deep, expected at most {} levels",
         kMaxSchemaDepth);
  uint32_t count = 1;
  if (value.is_structured())
    for (const Json& part : value) count += CountNodes(part, depth + 1);
  return count;
}

// %XX of a fragment of a URI; nlohmann reads the rest of the pointer.
std::string PercentDecoded(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && std::isxdigit(static_cast<uint8_t>(text[i + 1])) &&
        std::isxdigit(static_cast<uint8_t>(text[i + 2]))) {
      out.push_back(static_cast<char>(std::stoi(std::string(text.substr(i + 1, 2)), nullptr, 16)));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

void CheckSchemas(const Json& list, const std::string& path, const char* keyword) {
  if (!list.is_array() || list.empty()) FailAt(path, keyword, "expected a list of schemas that is not empty");
}

}  // namespace

std::string Below(const std::string& path, std::string_view name) {
  constexpr size_t kMaxPath = 200;
  if (path.size() > kMaxPath) return path;
  return path + "/" + Printable(name, 40);
}

uint32_t CountOf(const Json& schema, const char* keyword, uint32_t otherwise, const std::string& path) {
  const auto at = schema.find(keyword);
  if (at == schema.end()) return otherwise;
  const double count = at->is_number() ? at->get<double>() : -1;
  if (count < 0 || count != static_cast<double>(static_cast<uint64_t>(std::min(count, 1e15))))
    if (!(count > 1e15)) FailAt(path, keyword, "expected a whole number, found {}", Printable(at->dump()));
  return static_cast<uint32_t>(std::min<double>(count, kMaxCounted));
}

std::vector<std::string> TypesOf(const Json& schema) {
  const auto at = schema.find("type");
  if (at == schema.end()) return {"null", "boolean", "object", "array", "number", "string"};
  if (at->is_string()) return {at->get<std::string>()};
  return at->get<std::vector<std::string>>();
}

bool IsType(const Json& value, std::string_view type) {
  if (type == "null") return value.is_null();
  if (type == "boolean") return value.is_boolean();
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "number") return value.is_number();
  // 1.0 is an integer since draft 6.
  if (type != "integer" || !value.is_number()) return false;
  return !value.is_number_float() || value.get<double>() == std::floor(value.get<double>());
}

SchemaReader::SchemaReader(const Json& root) : root_(root) {
  const uint32_t nodes = CountNodes(root, 0);
  if (nodes > kMaxSchemaNodes)
    Fail(ErrorCode::kUsage, "the JSON schema has {} values, expected at most {}", nodes, kMaxSchemaNodes);
}

void SchemaReader::Spend(const Json& copied) {
  work_ += CountNodes(copied, 0);
  if (work_ > kMaxSchemaWork)
    Fail(ErrorCode::kUsage,
         "the JSON schema takes too much work to compile; put what is used often into $defs, and use fewer "
         "alternatives beside other keywords");
}

void SchemaReader::CheckKeywords(const Json& schema, const std::string& path) const {
  for (const char* keyword : kUnsupportedKeywords) {
    const auto at = schema.find(keyword);
    if (at == schema.end()) continue;
    if (at->is_object() && at->empty() && std::string_view(keyword) == "patternProperties") continue;
    FailAt(path, keyword, "this keyword is not supported, and output could be invalid without it");
  }
  const auto unique = schema.find("uniqueItems");
  if (unique != schema.end() && *unique != Json(false))
    FailAt(path, "uniqueItems", "this keyword is not supported, and output could be invalid without it");
  for (const char* keyword : {"anyOf", "oneOf", "allOf", "prefixItems"})
    if (schema.contains(keyword)) CheckSchemas(schema[keyword], path, keyword);
  const auto types = schema.find("type");
  if (types == schema.end()) return;
  const std::vector<Json> names =
      types->is_array() ? types->get<std::vector<Json>>() : std::vector<Json>{*types};
  for (const Json& name : names)
    if (!name.is_string() || std::ranges::find(kTypes, name.get<std::string>()) == std::end(kTypes))
      FailAt(path, "type",
             "expected null, boolean, object, array, number, integer, string or a list of them, found {}",
             Printable(types->dump(-1, ' ', false, Json::error_handler_t::replace)));
}

bool SchemaReader::IsReference(const Json& schema) const {
  if (!schema.is_object() || !schema.contains("$ref")) return false;
  for (const auto& [keyword, value] : schema.items())
    if (keyword != "$ref" && kKeywords.contains(keyword)) return false;
  return true;
}

const Json& SchemaReader::Resolve(const Json& reference, const std::string& path) const {
  if (!reference.is_string()) FailAt(path, "$ref", "expected a string");
  const std::string text = reference.get<std::string>();
  if (text.empty() || text[0] != '#' || (text.size() > 1 && text[1] != '/'))
    FailAt(path, "$ref", "expected a place in the same schema, as '#/$defs/name', found '{}'",
           Printable(text));
  try {
    const Json::json_pointer pointer(PercentDecoded(std::string_view(text).substr(1)));
    if (root_.contains(pointer)) return root_[pointer];
  } catch (const Json::exception&) {
    // Not a pointer: nothing is there.
  }
  FailAt(path, "$ref", "nothing is at '{}'", Printable(text));
}

Json SchemaReader::Normalize(const Json& schema, const std::string& path) const {
  Json out = Json::object();
  for (const auto& [keyword, value] : schema.items())
    if (kKeywords.contains(keyword)) out[keyword] = value;
  if (const auto at = out.find("const"); at != out.end()) {
    Json values = Json::array({*at});
    if (out.contains("enum") && out["enum"].is_array()) {
      // Both must hold.
      if (std::find(out["enum"].begin(), out["enum"].end(), values[0]) == out["enum"].end()) return false;
    }
    out.erase("const");
    out["enum"] = std::move(values);
  }
  if (out.contains("enum") && !out["enum"].is_array()) FailAt(path, "enum", "expected a list");
  if (const auto at = out.find("items"); at != out.end() && at->is_array()) {
    Json prefix = *at;
    out.erase("items");
    out["prefixItems"] = std::move(prefix);
    if (out.contains("additionalItems")) out["items"] = Json(out["additionalItems"]);
  }
  out.erase("additionalItems");
  for (const auto& [exclusive, bound] :
       {std::pair("exclusiveMinimum", "minimum"), {"exclusiveMaximum", "maximum"}}) {
    const auto at = out.find(exclusive);
    if (at == out.end() || !at->is_boolean()) continue;
    const bool on = at->get<bool>();
    out.erase(exclusive);
    if (!on || !out.contains(bound)) continue;
    out[exclusive] = Json(out[bound]);
    out.erase(bound);
  }
  if (out.value("nullable", Json(false)) == Json(true) && out.contains("type")) {
    std::vector<std::string> types = TypesOf(out);
    if (std::ranges::find(types, "null") == types.end()) types.push_back("null");
    out["type"] = types;
  }
  out.erase("nullable");
  if (out.value("unevaluatedProperties", Json(true)) == Json(true)) out.erase("unevaluatedProperties");
  return out;
}

Json SchemaReader::Flatten(const Json& schema, const std::string& path, uint32_t depth) {
  if (schema.is_boolean()) return schema;
  if (!schema.is_object()) FailAt(path, "schema", "expected an object or a boolean");
  if (depth > kMaxSchemaDepth)
    FailAt(path, schema.contains("$ref") ? "$ref" : "allOf",
           "references or schemas inside schemas go deeper than {}", kMaxSchemaDepth);
  CheckKeywords(schema, path);
  Spend(schema);
  Json out = Normalize(schema, path);
  if (!out.is_object()) return out;
  // Says "all that no keyword beside this one knows", so it comes after the rest.
  const Json unevaluated = out.value("unevaluatedProperties", Json());
  out.erase("unevaluatedProperties");
  std::vector<std::pair<const Json*, std::string>> others;
  if (schema.contains("$ref")) others.emplace_back(&Resolve(schema["$ref"], path), path + "/$ref");
  if (schema.contains("allOf"))
    for (const Json& part : schema["allOf"]) others.emplace_back(&part, Below(path, "allOf"));
  out.erase("$ref");
  out.erase("allOf");
  for (const auto& [other, place] : others) out = Merge(out, Flatten(*other, place, depth + 1), path);
  if (out.is_object() && !unevaluated.is_null()) out["unevaluatedProperties"] = unevaluated;
  return out;
}

}  // namespace onecopy::grammar
