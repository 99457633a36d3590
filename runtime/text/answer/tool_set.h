// ToolSet: the functions that a request offers to the model, and the values of arguments that a model writes as plain text,
// by the types that the function's JSON schema gives them. Immutable, shareable between threads. Source: the tools of OpenAI's
// chat completions; JSON Schema 2020-12 (type, enum, const, anyOf, oneOf, allOf, local $ref).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace onecopy::text {

// Types of JSON Schema as bits.
inline constexpr unsigned kNullType = 1, kBoolType = 2, kNumberType = 4, kIntegerType = 8, kStringType = 16,
                          kArrayType = 32, kObjectType = 64;

struct ToolParameter {
  std::string name;
  unsigned types;  // that its values may have; 0: the schema does not say
  bool required;
  std::vector<std::string> values;  // where it is an enum of strings: these
};

class ToolSet {
 public:
  ToolSet() = default;
  // tools: an array of {"type": "function", "function": {"name", "parameters"}}, or of such functions themselves; null: none.
  // Errors: kUsage for anything else, for a function without a name, and for two of one name.
  explicit ToolSet(const nlohmann::ordered_json& tools);

  bool empty() const { return functions_.empty(); }
  bool Has(std::string_view function) const { return Find(function) != nullptr; }
  // In the order of the request.
  std::vector<std::string> Names() const;

  // The schema of a function's arguments, which are an object.
  nlohmann::ordered_json Schema(std::string_view function) const;
  // In the order of the schema.
  std::vector<ToolParameter> Parameters(std::string_view function) const;

  // The JSON value of an argument that was written without quotes. What may be a string stays one, but for null where that is
  // allowed; other types are read as JSON, or as Python writes them, and remain strings where they cannot be. An argument that
  // the schema does not know is read as JSON where it is JSON.
  nlohmann::ordered_json Value(std::string_view function, std::string_view argument,
                               std::string_view text) const;

 private:
  struct Function {
    std::string name;
    nlohmann::ordered_json parameters;  // a schema, or null
  };
  const Function* Find(std::string_view function) const;

  std::vector<Function> functions_;
};

// Names that a call may have; models write other text after a mark that merely looks like a call.
bool IsFunctionName(std::string_view name);

}  // namespace onecopy::text
