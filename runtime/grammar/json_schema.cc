#include "runtime/grammar/json_schema.h"

#include <algorithm>
#include <cmath>

#include "runtime/base/printable.h"
#include "runtime/grammar/pattern.h"
#include "runtime/grammar/schema_compiler.h"
#include "runtime/grammar/schema_values.h"

namespace onecopy::grammar {
namespace {

Expr Impossible() {
  return Choice({});
}

// Runs a part that knows nothing of schemas, and says where the schema has what it refuses.
template <typename Function>
Expr WithPlace(const std::string& path, const char* keyword, const Function& function) {
  try {
    return function();
  } catch (const Error& error) {
    FailAt(path, keyword, "{}", error.what());
  }
}

}  // namespace

uint32_t RulesOfJsonSchema(const nlohmann::ordered_json& schema, Rules* rules) {
  try {
    return SchemaCompiler(schema, rules).Run();
  } catch (const Json::exception& error) {
    Fail(ErrorCode::kUsage, "the JSON schema is malformed: {}", Printable(error.what(), 200));
  }
}

uint32_t SchemaCompiler::Run() {
  const uint32_t root = AddRule("the whole document");
  Expr body = Compile(root_, "#");
  rules_[root].body = std::move(body);
  // One after another rather than inside one another: schemas that refer to each other may make long chains.
  while (!waiting_.empty()) {
    const Waiting next = std::move(waiting_.front());
    waiting_.pop_front();
    body = next.target != nullptr ? Compile(*next.target, next.path) : Body(next.flat, next.path);
    rules_[next.rule].body = std::move(body);
  }
  return root;
}

uint32_t SchemaCompiler::AddRule(std::string name) {
  rules_.push_back({std::move(name), nullptr});
  return static_cast<uint32_t>(rules_.size() - 1);
}

Expr SchemaCompiler::Compile(const Json& schema, const std::string& path) {
  if (reader_.IsReference(schema)) return Call(RuleOfReference(schema["$ref"], path));
  return CompileFlat(reader_.Flatten(schema, path, 0), path);
}

uint32_t SchemaCompiler::RuleOfReference(const Json& reference, const std::string& path) {
  const Json& target = reader_.Resolve(reference, path);
  const std::string name = reference.get<std::string>();
  const auto [at, is_new] = by_reference_.try_emplace(name, 0);
  if (is_new) {
    at->second = AddRule(name);
    waiting_.push_back({at->second, &target, Json(), name});
  }
  return at->second;
}

// Equal schemas are one rule; that also ends a recursion through schemas that had to be merged.
Expr SchemaCompiler::CompileFlat(const Json& flat, const std::string& path) {
  if (flat.is_boolean()) return flat.get<bool>() ? Call(values_.AnyValue()) : Impossible();
  reader_.Spend(flat);
  if (flat.empty()) return Call(values_.AnyValue());
  if (flat.size() == 1 && flat.contains("type") && flat["type"].is_string()) return OfTypes(flat, path);
  const auto [at, is_new] =
      by_schema_.try_emplace(flat.dump(-1, ' ', false, Json::error_handler_t::replace), 0);
  if (is_new) {
    at->second = AddRule(path);
    waiting_.push_back({at->second, nullptr, flat, path});
  }
  return Call(at->second);
}

Expr SchemaCompiler::Body(const Json& flat, const std::string& path) {
  if (flat.contains("anyOf")) return Alternatives(flat, "anyOf", path);
  if (flat.contains("oneOf")) return Alternatives(flat, "oneOf", path);
  return OfTypes(flat, path);
}

Expr SchemaCompiler::Alternatives(const Json& flat, const char* keyword, const std::string& path) {
  Json base = flat;
  base.erase(keyword);
  const std::string place = Below(path, keyword);
  std::vector<Expr> ways;
  std::vector<Json> alternatives;
  for (size_t i = 0; i < flat[keyword].size(); ++i) {
    const Json& part = flat[keyword][i];
    const std::string place_i = Below(place, std::to_string(i));
    Json way = reader_.Flatten(part, place_i, 0);
    if (!base.empty()) way = reader_.Merge(base, way, place_i);
    if (base.empty() && reader_.IsReference(part))
      ways.push_back(Compile(part, place_i));  // one rule for all who refer to it
    else
      ways.push_back(CompileFlat(way, place_i));
    alternatives.push_back(std::move(way));
  }
  if (std::string_view(keyword) == "oneOf") CheckApart(alternatives, path);
  return Choice(std::move(ways));
}

void SchemaCompiler::CheckApart(const std::vector<Json>& alternatives, const std::string& path) {
  for (size_t i = 0; i < alternatives.size(); ++i) {
    for (size_t j = 0; j < alternatives.size(); ++j) {
      if (i == j) continue;
      reader_.Spend(alternatives[i]);
      if (!NeverBoth(alternatives[i], alternatives[j], path, &reader_, 0))
        FailAt(path, "oneOf",
               "a value may be valid for alternative {} and for {}, and then is not valid; use anyOf, or "
               "tell them "
               "apart by type, by a required property with other values, or by a required property that only "
               "one has",
               i, j);
    }
  }
}

Expr SchemaCompiler::OfTypes(const Json& flat, const std::string& path) {
  std::vector<Expr> ways;
  if (flat.contains("enum")) {
    for (const Json& value : PermittedValues(flat, path)) ways.push_back(values_.Exactly(value));
    return Choice(std::move(ways));
  }
  const std::vector<std::string> types = WrittenTypes(flat);
  const bool numbers = std::ranges::find(types, "number") != types.end();
  for (const std::string& type : types) {
    if (type == "null") ways.push_back(Text("null"));
    if (type == "boolean") ways.push_back(Choice({Text("true"), Text("false")}));
    if (type == "string") ways.push_back(String(flat, path));
    if (type == "number" || (type == "integer" && !numbers))
      ways.push_back(Number(flat, type == "integer", path));
    if (type == "array") ways.push_back(Array(flat, path));
    if (type == "object") ways.push_back(Object(flat, path));
  }
  return Choice(std::move(ways));
}

Expr SchemaCompiler::String(const Json& flat, const std::string& path) {
  Expr characters;
  if (flat.contains("format")) {
    if (!flat["format"].is_string()) FailAt(path, "format", "expected a string");
    const std::string format = flat["format"].get<std::string>();
    if (IsUnsupportedFormat(format)) FailAt(path, "format", "'{}' is not supported", Printable(format));
    if (const auto pattern = PatternOfFormat(format)) characters = ParsePattern(*pattern);
  }
  if (flat.contains("pattern")) {
    if (characters != nullptr) FailAt(path, "pattern", "it is not supported beside format");
    if (!flat["pattern"].is_string()) FailAt(path, "pattern", "expected a string");
    characters = WithPlace(path, "pattern", [&] { return ParsePattern(flat["pattern"].get<std::string>()); });
  }
  const uint32_t min = CountOf(flat, "minLength", 0, path),
                 max = CountOf(flat, "maxLength", kUnbounded, path);
  if (min > max) return Impossible();
  if (characters == nullptr) {
    if (min == 0 && max == kUnbounded) return Call(values_.String());
    characters = Repeat(Class(CodePoints::All()), min, max);
  } else if (min > 0 || max != kUnbounded) {
    characters = WithPlace(path, "minLength, maxLength", [&] { return WithLength(characters, min, max); });
  }
  return Sequence({Text("\""), InJsonString(characters), Text("\"")});
}

Expr SchemaCompiler::Number(const Json& flat, bool integer, const std::string& path) {
  NumberRange range{LowerBound(flat, path), UpperBound(flat, path), integer};
  if (flat.contains("multipleOf")) {
    const Json& multiple = flat["multipleOf"];
    if (!multiple.is_number() || multiple.get<double>() <= 0)
      FailAt(path, "multipleOf", "expected a number above 0, found {}", Printable(multiple.dump()));
    const Decimal decimal = DecimalOf(multiple);
    if (decimal.fraction.empty() && decimal.whole.size() <= 18) {
      range.integer = true;
      range.multiple = std::stoull(decimal.whole);
    } else if (!integer && decimal.whole.empty() && decimal.fraction.back() == '1' &&
               decimal.fraction.find_first_not_of('0') == decimal.fraction.size() - 1) {
      range.max_fraction = static_cast<uint32_t>(decimal.fraction.size());
    } else {
      FailAt(path, "multipleOf", "{} is not supported, only integers, and 0.1, 0.01, … for numbers",
             Printable(multiple.dump()));
    }
  } else if (!range.lo && !range.hi) {
    return Call(integer ? values_.Integer() : values_.Number());
  }
  Expr number =
      WithPlace(path, range.multiple > 1 ? "multipleOf" : "minimum, maximum", [&] { return InRange(range); });
  return number == nullptr ? Impossible() : number;
}

Expr SchemaCompiler::Array(const Json& flat, const std::string& path) {
  const uint32_t min = CountOf(flat, "minItems", 0, path);
  uint32_t max = CountOf(flat, "maxItems", kUnbounded, path);
  const Json prefix = flat.value("prefixItems", Json::array());
  // As for properties: what is not mentioned is not written, unless it must be there.
  const bool has_rest =
      flat.contains("items") ? flat["items"] != Json(false) : prefix.empty() || min > prefix.size();
  const uint32_t num_prefix = static_cast<uint32_t>(prefix.size());
  if (!has_rest) max = std::min(max, num_prefix);
  if (min > max) return Impossible();
  Expr rest;
  if (has_rest && max > num_prefix)
    rest = flat.contains("items") ? Compile(flat["items"], Below(path, "items")) : Call(values_.AnyValue());

  // A place for each number of items so far.
  const uint32_t last = max == kUnbounded ? std::max({min, num_prefix, 1u}) : max;
  GraphBuilder graph;
  uint32_t place = 0;
  for (uint32_t i = 0; i <= last; ++i) {
    if (i >= min) graph.Connect(place, 1);
    if (i == last && max != kUnbounded) break;
    const Expr item =
        i < num_prefix ? Compile(prefix[i], Below(Below(path, "prefixItems"), std::to_string(i))) : rest;
    const Expr label = i == 0 ? item : Sequence({values_.Comma(), item});
    const uint32_t next = i == last ? place : graph.AddPlace();
    graph.Connect(place, next, label);
    place = next;
  }
  return values_.Bracketed('[', graph.Finish(), ']');
}

}  // namespace onecopy::grammar
