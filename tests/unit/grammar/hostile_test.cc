// What comes from the internet: random bytes as GBNF, random JSON as schemas, grammars made to be large. Each is either
// refused with an error or compiled, soon.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "tests/support/processor_time.h"
#include "tests/unit/grammar/grammar_test_support.h"
#include "tests/unit/grammar/walk.h"

namespace onecopy::grammar {
namespace {

using Json = nlohmann::ordered_json;

// On a free machine a second is the bound; this one may be slow, or the program sanitised.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr double kMaxSeconds = 60;
#else
constexpr double kMaxSeconds = 6;
#endif

// True: compiled. Walks some tokens, too.
template <typename Function>
bool CompilesSoon(const Function& make, const std::string& what, double* worst_s) {
  std::shared_ptr<const Grammar> grammar;
  const double seconds = test::ThreadSeconds([&] {
    try {
      grammar = make();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUsage) << what << ": " << error.what();
    }
  });
  EXPECT_LT(seconds, kMaxSeconds) << what.substr(0, 300);
  *worst_s = std::max(*worst_s, seconds);
  if (grammar == nullptr) return false;
  std::mt19937 random(5);
  Matcher matcher(grammar, ByteTable());
  for (int i = 0; i < 20 && !matcher.finished(); ++i) {
    const std::vector<int32_t> ids = Allowed(matcher.Mask());
    if (ids.empty()) break;
    EXPECT_TRUE(matcher.Accept(ids[random() % ids.size()])) << what.substr(0, 300);
  }
  return true;
}

TEST(Hostile, RandomTextsAsGbnf) {
  const std::vector<std::string> parts = {
      "root", "::=", "\n",    " ",   "a", "b",    "|", "(",         ")",      "\"",      "\"x\"", "[a-z]",
      "[^",   "]",   "*",     "+",   "?", "{",    "}", "{2,5}",     "{3}",    ",",       "9",     ".",
      "#",    "\\",  "\\x41", "\\u", "é", "\xff", "-", "root ::= ", "a ::= ", "\nb ::= "};
  std::mt19937 random(11);
  double worst_s = 0;
  size_t compiled = 0;
  for (int i = 0; i < 6000; ++i) {
    std::string text = i % 2 == 0 ? "root ::= " : "";
    const size_t length = random() % (i % 50 == 0 ? 400 : 25);
    for (size_t j = 0; j < length; ++j)
      text += i % 5 == 0 ? std::string(1, static_cast<char>(random())) : parts[random() % parts.size()];
    if (i % 3 == 0) text += "\na ::= \"a\" | \"c\" b?\nb ::= [0-9] a*\n";
    compiled += CompilesSoon([&] { return Grammar::FromGbnf(text); }, text, &worst_s);
  }
  EXPECT_GT(compiled, 50u);
  printf("%zu of 6000 compiled, the slowest took %.1f ms\n", compiled, worst_s * 1000);
}

Json RandomSchema(std::mt19937* random, int depth) {
  static const std::vector<std::string> keywords = {"type",
                                                    "enum",
                                                    "const",
                                                    "properties",
                                                    "required",
                                                    "additionalProperties",
                                                    "minProperties",
                                                    "maxProperties",
                                                    "items",
                                                    "prefixItems",
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
                                                    "nullable",
                                                    "unevaluatedProperties",
                                                    "title",
                                                    "not"};
  static const std::vector<Json> values = {"string",
                                           "number",
                                           "integer",
                                           "object",
                                           "array",
                                           "null",
                                           Json::array({"string", "null"}),
                                           0,
                                           1,
                                           3,
                                           -1,
                                           2.5,
                                           1e300,
                                           -1e18,
                                           true,
                                           false,
                                           "^[a-z]+$",
                                           "a|b",
                                           "(",
                                           "date",
                                           "#",
                                           "#/properties/a",
                                           "#/items",
                                           "#/anyOf/0",
                                           Json::array({"a"}),
                                           Json::array({1, "a", nullptr}),
                                           nullptr};
  Json schema = Json::object();
  const size_t num = (*random)() % 4;
  for (size_t i = 0; i < num; ++i) {
    const std::string& keyword = keywords[(*random)() % keywords.size()];
    switch (depth == 0 ? 0 : (*random)() % 4) {
      case 0:
        schema[keyword] = values[(*random)() % values.size()];
        break;
      case 1:
        schema[keyword] = RandomSchema(random, depth - 1);
        break;
      case 2:
        schema[keyword] = Json::array();
        for (size_t j = (*random)() % 4; j > 0; --j)
          schema[keyword].push_back(RandomSchema(random, depth - 1));
        break;
      default:
        schema[keyword] = Json::object();
        for (const char* name : {"a", "b", "c"})
          if ((*random)() % 2) schema[keyword][name] = RandomSchema(random, depth - 1);
    }
  }
  return schema;
}

TEST(Hostile, RandomJsonAsSchemas) {
  constexpr size_t kSchemas = 3000;
  std::mt19937 random(12);
  double worst_s = 0;
  size_t compiled = 0;
  for (size_t i = 0; i < kSchemas; ++i) {
    const Json schema = RandomSchema(&random, 4);
    compiled += CompilesSoon([&] { return Grammar::FromJsonSchema(schema); }, schema.dump(), &worst_s);
  }
  EXPECT_GT(compiled, kSchemas / 12);
  printf("%zu of %zu compiled, the slowest took %.1f ms\n", compiled, kSchemas, worst_s * 1000);
}

TEST(Hostile, MutatedSchemas) {
  std::ifstream file(ONECOPY_TEST_DATA "/json_schemas.json");
  const Json cases = Json::parse(file);
  std::mt19937 random(13);
  double worst_s = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string text = cases[random() % cases.size()]["schema"].dump();
    for (size_t j = 1 + random() % 3; j > 0; --j) {
      const size_t at = random() % text.size();
      if (random() % 2)
        text[at] = "0123456789{}[]\",:abcdefghij"[random() % 27];
      else
        text.insert(at, text.substr(random() % text.size(), random() % 20));
    }
    const Json schema = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!schema.is_discarded()) CompilesSoon([&] { return Grammar::FromJsonSchema(schema); }, text, &worst_s);
  }
  printf("the slowest took %.1f ms\n", worst_s * 1000);
}

TEST(Hostile, LargeGrammarsAreRefusedOrCompiledSoon) {
  std::vector<std::string> grammars = {
      "root ::= (((\"\"{9999}){9999}){9999}){9999}",
      "root ::= ([a-z]*){9999} ([a-z]*){9999}",
      "root ::= [ab]* \"a\" [ab]{2000}",
      "root ::= ([^a]{0,900} [^b]{0,900}){0,40}",
      "root ::= (\"a\"?){9999}",
      "root ::= ((\"a\"?){99}){99}",
  };
  std::string chain = "root ::= r0\n", fan = "root ::= \"\"", calls = "root ::= x*\nx ::= \"\"";
  for (int i = 0; i < 9'000; ++i) {
    chain += "r" + std::to_string(i) + " ::= \"\" r" + std::to_string(i + 1) + "\n";
    fan += " | \"a\"? [a-z]? \"" + std::to_string(i) + "\"";
    if (i < 3'000) calls += " | \"" + std::to_string(i) + "\" x";
  }
  grammars.push_back(chain + "r9000 ::= \"x\"");
  grammars.push_back(fan);
  grammars.push_back(calls);
  std::string text = "root ::= ";
  while (text.size() < 200'000) text += "\"abc\" | [^x-z]+ | ";
  grammars.push_back(text + "\"\"");
  double worst_s = 0;
  for (const std::string& grammar : grammars)
    CompilesSoon([&] { return Grammar::FromGbnf(grammar); }, grammar, &worst_s);
  printf("the slowest took %.1f ms\n", worst_s * 1000);
}

TEST(Hostile, LargeSchemasAreRefusedOrCompiledSoon) {
  std::vector<Json> schemas;
  Json properties = Json::object(), any = Json::array(), names = Json::array();
  for (int i = 0; i < 3'000; ++i) {
    properties["p" + std::to_string(i)] = {{"type", "string"}, {"maxLength", 10 + i % 7}};
    any.push_back({{"properties", {{"k" + std::to_string(i), {{"const", i}}}}}});
    names.push_back("name " + std::to_string(i));
  }
  schemas.push_back({{"type", "object"}, {"properties", properties}});
  schemas.push_back({{"type", "object"}, {"properties", properties}, {"minProperties", 1500}});
  schemas.push_back({{"type", "object"}, {"properties", properties}, {"additionalProperties", true}});
  schemas.push_back({{"anyOf", any}});
  schemas.push_back({{"oneOf", any}});
  schemas.push_back({{"enum", names}});
  schemas.push_back({{"allOf", Json::array({{{"anyOf", any}}, {{"anyOf", any}}})}});
  schemas.push_back({{"type", "array"},
                     {"items", {{"type", "array"}, {"items", {{"enum", names}}}, {"maxItems", 4000}}},
                     {"minItems", 4000}});
  schemas.push_back({{"type", "string"}, {"pattern", "^(a?){500}(a?){500}$"}, {"maxLength", 400}});
  schemas.push_back(
      {{"type", "string"}, {"pattern", "(a|b)*a(a|b){60}"}, {"minLength", 100}, {"maxLength", 4000}});
  schemas.push_back({{"type", "string"}, {"pattern", "^(((((a{1,60}){1,60}){1,60}){1,60}){1,60})$"}});
  // References that double: 2^40 schemas if they were written out.
  Json defs = Json::object();
  for (int i = 0; i < 40; ++i) {
    const Json next = {{"$ref", "#/$defs/d" + std::to_string(i + 1)}};
    defs["d" + std::to_string(i)] = {{"allOf", Json::array({next, next})}};
  }
  defs["d40"] = {{"type", "integer"}};
  schemas.push_back({{"$defs", defs}, {"$ref", "#/$defs/d0"}});
  double worst_s = 0;
  for (const Json& schema : schemas)
    CompilesSoon([&] { return Grammar::FromJsonSchema(schema); }, schema.dump().substr(0, 200), &worst_s);
  printf("the slowest took %.1f ms\n", worst_s * 1000);
}

}  // namespace
}  // namespace onecopy::grammar
