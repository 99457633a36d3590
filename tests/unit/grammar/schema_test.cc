// JSON schemas: what is refused, by keyword and place; the set of schemas in tests/data is judged by
// schema_test.py, with Python's jsonschema.
#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "tests/unit/grammar/grammar_test_support.h"

namespace onecopy::grammar {
namespace {

using Json = nlohmann::ordered_json;

std::shared_ptr<const Grammar> OfSchema(const std::string& text) {
  return Grammar::FromJsonSchema(Json::parse(text));
}

TEST(JsonSchema, WhatIsNotKeptToIsRefusedByKeywordAndPlace) {
  std::string deep = "true";
  for (int i = 0; i < 100; ++i) deep = R"({"items":)" + deep + "}";
  std::string wide = R"({"enum":[0)";
  for (int i = 0; i < 60'000; ++i) wide += ",1";
  wide += "]}";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"({"not":{"type":"string"}})", "'not' at #:"},
      {R"({"properties":{"a":{"items":{"uniqueItems":true}}}})", "'uniqueItems' at #/properties/a/items:"},
      {R"({"properties":{"a":{"patternProperties":{"x":true}}}})", "'patternProperties' at #/properties/a:"},
      {R"({"if":true,"then":false})", "'if' at #:"},
      {R"({"type":"array","contains":{"type":"null"}})", "'contains' at #:"},
      {R"({"propertyNames":{"maxLength":2}})", "'propertyNames' at #:"},
      {R"({"dependentRequired":{"a":["b"]}})", "'dependentRequired' at #:"},
      {R"({"$defs":{"x":{"not":true}},"items":{"$ref":"#/$defs/x"}})", "'not' at #/$defs/x:"},
      {R"({"anyOf":[true,{"not":true}]})", "'not' at #/anyOf/1:"},
      {R"({"$ref":"https://example.org/schema"})", "'$ref' at #: expected a place in the same schema"},
      {R"({"$ref":"#/$defs/none"})", "'$ref' at #: nothing is at '#/$defs/none'"},
      {R"({"$ref":"#"})", "can never end"},
      {R"({"allOf":[{"$ref":"#"}]})", "deeper than 64"},
      {R"({"type":"text"})", "'type' at #: expected null, boolean"},
      {R"({"type":3})", "'type' at #:"},
      {R"([1])", "expected an object or a boolean"},
      {R"("x")", "expected an object or a boolean"},
      {R"({"properties":[1]})", "'properties' at #: expected an object"},
      {R"({"properties":{"a":5}})", "'schema' at #/properties/a: expected an object or a boolean"},
      {R"({"required":"a"})", "'required' at #: expected a list"},
      {R"({"enum":5})", "'enum' at #: expected a list"},
      {R"({"anyOf":[]})", "'anyOf' at #: expected a list of schemas"},
      {R"({"type":"string","minLength":-1})", "'minLength' at #: expected a whole number"},
      {R"({"type":"string","minLength":"x"})", "'minLength' at #: expected a whole number"},
      {R"({"type":"integer","minimum":"x"})", "'minimum' at #: expected a number"},
      {R"({"type":"string","pattern":"(?=a)b"})",
       "'pattern' at #: the pattern '(?=a)b' has a group that looks around"},
      {R"({"type":"string","pattern":"a\\b"})", "has an escape at its byte 1"},
      {R"({"type":"string","pattern":"(a)\\1"})", "has an escape at its byte 3"},
      {R"~({"type":"string","pattern":"a(^b)"})~", "an anchor that is not at the beginning"},
      {R"({"type":"string","pattern":"\\p{L}"})", "has an escape at its byte 0"},
      {R"({"type":"string","pattern":"a**"})", "a quantifier of a quantifier"},
      {R"({"type":"string","pattern":"a{1,99999}"})", "a quantifier above 4096"},
      {R"({"type":"string","format":"regex"})", "'format' at #: 'regex' is not supported"},
      {R"({"type":"string","format":"date","pattern":"^2"})",
       "'pattern' at #: it is not supported beside format"},
      {R"({"type":"number","multipleOf":0.3})", "'multipleOf' at #: 0.3 is not supported"},
      {R"({"type":"integer","multipleOf":0})", "'multipleOf' at #: expected a number above 0"},
      {R"({"type":"integer","multipleOf":997})", "multiples of 997 are not supported"},
      {R"({"type":"object","additionalProperties":true,"minProperties":2})", "'minProperties' at #:"},
      {R"({"oneOf":[{"type":"integer"},{"type":"number"}]})",
       "'oneOf' at #: a value may be valid for alternative 0 and for 1"},
      {R"({"oneOf":[{"type":"string"},{"type":"string","maxLength":3}]})", "'oneOf' at #:"},
      {R"({"oneOf":[{"properties":{"a":{"type":"string"}}},{"properties":{"b":{"type":"string"}}}]})",
       "'oneOf' at #:"},
      {R"({"type":"integer","minimum":5,"maximum":4})", "no finite text"},
      {R"({"type":"integer","exclusiveMinimum":4,"exclusiveMaximum":5})", "no finite text"},
      {R"({"type":"string","minLength":3,"maxLength":2})", "no finite text"},
      {R"({"type":"array","minItems":3,"maxItems":2})", "no finite text"},
      {R"({"type":"object","properties":{"a":false},"required":["a"]})", "no finite text"},
      {R"({"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]})", "no finite text"},
      {R"({"enum":[]})", "no finite text"},
      {R"({"allOf":[{"type":"string"},{"type":"integer"}]})", "no finite text"},
      {"false", "no finite text"},
      {deep, "nested too deep"},
      {wide, "expected at most 50000"},
  };
  for (const auto& [schema, expected] : cases)
    EXPECT_THAT(ErrorOf([&schema = schema] { OfSchema(schema); }), testing::HasSubstr(expected))
        << schema.substr(0, 120);
}

// The form that documents are written in; other valid ones are not in the grammar.
TEST(JsonSchema, DocumentsHaveOneForm) {
  const auto grammar =
      OfSchema(R"({"type":"object","properties":{"a":{"type":"number"},"b":{}},"required":["a"]})");
  for (const char* text :
       {R"({"a":1,"b":2})", R"({"a": 1, "b": [1, {"x": null}]})",
        "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": 2\n  }\n}", "{\n\t\"a\": -1.5e3\n}", R"({ "a": 1 })"})
    EXPECT_TRUE(Matches(grammar, text)) << text;
  for (const char* text : {R"({"b":2,"a":1})", R"({"a":1,"a":1})", R"({"a":1,"z":1})", R"({"a" :1})",
                           R"({"a":  1})", R"({"a":1} )", " {\"a\":1}", R"({"a":1,,"b":2})", R"({"a":1,})",
                           R"({"a":01})", R"({"a":1e999})", R"({"a":.5})", R"({"a":1.})", R"({"a":+1})"})
    EXPECT_FALSE(Matches(grammar, text)) << text;
  // White space that would never end.
  EXPECT_FALSE(Matches(grammar, "{" + std::string(50, ' ') + "\"a\":1}"));
  EXPECT_FALSE(Matches(grammar, "{\n\n\"a\":1}"));
}

TEST(JsonSchema, StringsAreValidJson) {
  const auto grammar = OfSchema(R"({"type":"string"})");
  for (const char* text :
       {R"("")", R"("\"\\\/\b\f\n\r\t")", R"("\u00e9\u0000")", R"("\ud83d\ude00")", "\"\x7f€😀\""})
    EXPECT_TRUE(Matches(grammar, text)) << text;
  for (const char* text : {R"("\x41")", R"("\u12")", R"("\ud83d")", R"("\ude00")", R"("\ud83d\u0041")",
                           "\"\n\"", "\"\x01\"", "\"\xff\"", "\"\xc3\"", "'a'"})
    EXPECT_FALSE(Matches(grammar, text)) << text;
}

TEST(JsonSchema, NullableAndMultiplesOfHundredths) {
  const auto nullable = OfSchema(R"({"type":"integer","nullable":true,"minimum":3})");
  EXPECT_TRUE(Matches(nullable, "null"));
  EXPECT_TRUE(Matches(nullable, "3"));
  EXPECT_FALSE(Matches(nullable, "2"));
  const auto price = OfSchema(R"({"type":"number","multipleOf":0.01,"minimum":0,"maximum":10})");
  for (const char* text : {"0", "0.07", "9.99", "10", "3.5", "10.00"})
    EXPECT_TRUE(Matches(price, text)) << text;
  for (const char* text : {"0.071", "10.01", "-0.01", "1e1"}) EXPECT_FALSE(Matches(price, text)) << text;
}

TEST(JsonSchema, ReferencesMayMakeLongChains) {
  Json schema = {{"$ref", "#/$defs/d0"}};
  std::string text = "null";
  for (int i = 0; i < 200; ++i) {
    const std::string next = "#/$defs/d" + std::to_string(i + 1);
    schema["$defs"]["d" + std::to_string(i)] = {
        {"type", "object"}, {"properties", {{"a", {{"$ref", next}}}}}, {"required", {"a"}}};
    text = R"({"a":)" + text + "}";
  }
  schema["$defs"]["d200"] = {{"type", "null"}};
  const auto grammar = Grammar::FromJsonSchema(schema);
  EXPECT_TRUE(Matches(grammar, text));
  EXPECT_FALSE(Matches(grammar, R"({"a":)" + text + "}"));
}

TEST(JsonSchema, TooManyAlternativesAreRefused) {
  Json schema = {{"anyOf", Json::array()}};
  for (int i = 0; i < 1500; ++i)
    schema["anyOf"].push_back(
        {{"type", "object"}, {"properties", {{"p" + std::to_string(i), {{"type", "null"}}}}}});
  EXPECT_THAT(ErrorOf([&] { Grammar::FromJsonSchema(schema); }), testing::HasSubstr("too many alternatives"));
}

TEST(JsonSchema, LongLimitsAreTakenAsTheGreatestThatIsCounted) {
  const auto grammar = OfSchema(R"({"type":"string","maxLength":100000})");
  EXPECT_TRUE(Matches(grammar, "\"" + std::string(4096, 'a') + "\""));
  EXPECT_FALSE(Matches(grammar, "\"" + std::string(4097, 'a') + "\""));
}

TEST(JsonObject, IsAnyObject) {
  const auto grammar = Grammar::JsonObject();
  EXPECT_EQ(grammar, Grammar::JsonObject());
  for (const char* text : {"{}", R"({"a":[1,2,{"b":null}],"c":"d"})", "{\n  \"a\": true\n}"})
    EXPECT_TRUE(Matches(grammar, text)) << text;
  for (const char* text : {"", "[]", "1", "\"a\"", "{", "{}{}", "{} ", R"({"a"})", R"({1:2})"})
    EXPECT_FALSE(Matches(grammar, text)) << text;
}

}  // namespace
}  // namespace onecopy::grammar
