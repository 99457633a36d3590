#include "runtime/text/answer/tool_set.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"
#include "runtime/text/answer/python_values.h"
#include "runtime/text/json_scanner.h"

namespace onecopy::text {
namespace {

using nlohmann::ordered_json;

// Schemas may refer to themselves, and branch at every level.
constexpr int kMaxSchemasVisited = 256;
constexpr size_t kMaxNameBytes = 256;
// Functions are looked up one by one.
constexpr size_t kMaxTools = 1024;

unsigned TypeNamed(const ordered_json& name) {
  if (name == "null") return kNullType;
  if (name == "boolean") return kBoolType;
  if (name == "number") return kNumberType;
  if (name == "integer") return kIntegerType;
  if (name == "string") return kStringType;
  if (name == "array") return kArrayType;
  return name == "object" ? kObjectType : 0;
}

unsigned TypeOfValue(const ordered_json& value) {
  if (value.is_null()) return kNullType;
  if (value.is_boolean()) return kBoolType;
  if (value.is_number_integer()) return kIntegerType;
  if (value.is_number()) return kNumberType;
  if (value.is_string()) return kStringType;
  return value.is_array() ? kArrayType : kObjectType;
}

// The types that values of `schema` may have; 0: it does not say.
class TypeFinder {
 public:
  explicit TypeFinder(const ordered_json& root) : root_(root) {}

  unsigned Types(const ordered_json& schema) {
    if (++visited_ > kMaxSchemasVisited || !schema.is_object()) return 0;
    unsigned types = 0;
    const auto member = [&](const char* name) -> const ordered_json& {
      static const ordered_json none;
      const auto it = schema.find(name);
      return it == schema.end() ? none : *it;
    };
    const ordered_json& type = member("type");
    if (type.is_string()) types |= TypeNamed(type);
    if (type.is_array())
      for (const ordered_json& one : type) types |= TypeNamed(one);
    if (types == 0 && schema.contains("const")) types |= TypeOfValue(member("const"));
    if (types == 0 && member("enum").is_array())
      for (const ordered_json& value : member("enum")) types |= TypeOfValue(value);
    for (const char* name : {"anyOf", "oneOf", "allOf"})
      if (member(name).is_array())
        for (const ordered_json& one : member(name)) types |= Types(one);
    if (types == 0 && member("$ref").is_string())
      types |= TypesOfReference(member("$ref").get<std::string>());
    return types;
  }

 private:
  unsigned TypesOfReference(const std::string& reference) {
    if (!reference.starts_with("#/")) return 0;
    try {
      const ordered_json::json_pointer pointer(reference.substr(1));
      return root_.contains(pointer) ? Types(root_.at(pointer)) : 0;
    } catch (const ordered_json::exception&) {
      return 0;  // a malformed pointer says nothing
    }
  }

  const ordered_json& root_;
  int visited_ = 0;
};

}  // namespace

bool IsFunctionName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameBytes && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_-.:/").find(c) != std::string_view::npos;
  });
}

ToolSet::ToolSet(const ordered_json& tools) {
  if (tools.is_null()) return;
  if (!tools.is_array())
    Fail(ErrorCode::kUsage, "tools is a {}, expected an array of functions", tools.type_name());
  if (tools.size() > kMaxTools)
    Fail(ErrorCode::kUsage, "there are {} tools; the limit is {}", tools.size(), kMaxTools);
  for (size_t i = 0; i < tools.size(); ++i) {
    const ordered_json& tool = tools[i];
    if (tool.is_object() && tool.contains("type") && tool["type"] != "function")
      Fail(ErrorCode::kUsage, "tools[{}] is of type {}; only \"function\" is supported", i,
           Printable(tool["type"].dump()));
    const bool wrapped = tool.is_object() && tool.contains("function");
    const ordered_json& function = wrapped ? tool["function"] : tool;
    const bool named = function.is_object() && function.contains("name") && function["name"].is_string();
    const std::string name = named ? function["name"].get<std::string>() : "";
    if (!IsFunctionName(name))
      Fail(ErrorCode::kUsage,
           "tools[{}] needs a function with a name of letters, digits, '_' and '-', at most {} bytes", i,
           kMaxNameBytes);
    if (Has(name)) Fail(ErrorCode::kUsage, "tools[{}]: there is already a function {}", i, name);
    functions_.push_back({name, function.value("parameters", ordered_json())});
  }
}

std::vector<std::string> ToolSet::Names() const {
  std::vector<std::string> names;
  for (const Function& function : functions_) names.push_back(function.name);
  return names;
}

const ToolSet::Function* ToolSet::Find(std::string_view function) const {
  for (const Function& known : functions_)
    if (known.name == function) return &known;
  return nullptr;
}

ordered_json ToolSet::Schema(std::string_view function) const {
  const Function* known = Find(function);
  ordered_json schema = known && known->parameters.is_object() ? known->parameters : ordered_json::object();
  schema["type"] = "object";
  return schema;
}

std::vector<ToolParameter> ToolSet::Parameters(std::string_view function) const {
  const ordered_json schema = Schema(function);
  const ordered_json properties = schema.value("properties", ordered_json());
  const ordered_json required = schema.value("required", ordered_json());
  std::vector<ToolParameter> parameters;
  if (!properties.is_object()) return parameters;
  for (const auto& [name, property] : properties.items()) {
    ToolParameter parameter{name, TypeFinder(schema).Types(property), false, {}};
    for (const ordered_json& one : required) parameter.required |= one == name;
    const ordered_json values =
        property.is_object() ? property.value("enum", ordered_json::array()) : ordered_json::array();
    const bool strings =
        values.is_array() &&
        std::all_of(values.begin(), values.end(), [](const auto& value) { return value.is_string(); });
    if (strings)
      for (const ordered_json& value : values) parameter.values.push_back(value);
    parameters.push_back(std::move(parameter));
  }
  return parameters;
}

ordered_json ToolSet::Value(std::string_view function, std::string_view argument,
                            std::string_view text) const {
  unsigned types = 0;
  if (const Function* known = Find(function); known && known->parameters.is_object()) {
    const auto properties = known->parameters.find("properties");
    if (properties != known->parameters.end() && properties->is_object())
      if (const auto schema = properties->find(std::string(argument)); schema != properties->end())
        types = TypeFinder(known->parameters).Types(*schema);
  }
  if ((types & kNullType) && (text == "null" || text == "None")) return nullptr;
  if (types & kStringType) return std::string(text);
  if (std::optional<ordered_json> value = ParseJson(text)) {
    // "a quoted string" of unknown type is text that has quotes.
    if (!value->is_string()) return *std::move(value);
    return std::string(text);
  }
  if (std::optional<ordered_json> value = ParsePythonLiteral(text); value && !value->is_string())
    return *std::move(value);
  return std::string(text);
}

}  // namespace onecopy::text
