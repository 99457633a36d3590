// From flat schemas to expressions. Internal to json_schema; not thread-safe.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <unordered_map>

#include "runtime/grammar/json_values.h"
#include "runtime/grammar/schema_reader.h"

namespace onecopy::grammar {

class SchemaCompiler {
 public:
  SchemaCompiler(const Json& root, Rules* rules)
      : root_(root), rules_(*rules), reader_(root), values_(rules) {}
  uint32_t Run();

 private:
  Expr Compile(const Json& schema, const std::string& path);
  Expr CompileFlat(const Json& flat, const std::string& path);
  Expr Body(const Json& flat, const std::string& path);
  Expr Alternatives(const Json& flat, const char* keyword, const std::string& path);
  void CheckApart(const std::vector<Json>& alternatives, const std::string& path);
  Expr OfTypes(const Json& flat, const std::string& path);

  Expr String(const Json& flat, const std::string& path);
  Expr Number(const Json& flat, bool integer, const std::string& path);
  Expr Array(const Json& flat, const std::string& path);
  Expr Object(const Json& flat, const std::string& path);

  uint32_t RuleOfReference(const Json& reference, const std::string& path);
  uint32_t AddRule(std::string name);

  const Json& root_;
  Rules& rules_;
  SchemaReader reader_;
  JsonValues values_;
  // Rules without a body yet: of what a reference refers to, or of a flat schema.
  struct Waiting {
    uint32_t rule;
    const Json* target;
    Json flat;
    std::string path;
  };
  std::deque<Waiting> waiting_;
  std::unordered_map<std::string, uint32_t> by_reference_, by_schema_;
};

// A JSON string, with its quotes, that is none of the names; without escapes.
Expr KeyOtherThan(const std::vector<std::string>& names);

}  // namespace onecopy::grammar
