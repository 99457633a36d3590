#include "runtime/serve/params.h"

#include <gmock/gmock.h>

#include <cmath>

#include "tests/support/processor_time.h"

namespace onecopy::serve {
namespace {

std::string ParamOf(const std::function<void()>& body) {
  try {
    body();
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status, 400);
    EXPECT_LT(std::string(error.what()).size(), 200u) << error.what();
    return error.param.empty() ? error.what() : error.param;
  }
  return "no error";
}

TEST(Params, FieldsHaveTypesAndRanges) {
  const Json json = {{"i", 5},
                     {"f", 5.0},
                     {"half", 2.5},
                     {"s", "x"},
                     {"b", true},
                     {"null", nullptr},
                     {"big", 1e300},
                     {"list", {"a", "b"}},
                     {"long", std::string(5000, 'x')},
                     {"deep", Json::array({Json::array()})}};
  const Params params(json);
  EXPECT_EQ(params.Int("i", 0, 0, 10), 5);
  EXPECT_EQ(params.Int("f", 0, 0, 10), 5);
  EXPECT_EQ(params.Int("none", 7, 0, 10), 7);
  EXPECT_EQ(params.Int("null", 7, 0, 10), 7);
  EXPECT_EQ(params.Number("half", 0, 0, 10), 2.5);
  EXPECT_EQ(params.String("s", ""), "x");
  EXPECT_TRUE(params.Bool("b", false));
  EXPECT_THAT(params.Strings("list", 2), ::testing::ElementsAre("a", "b"));
  EXPECT_THAT(params.Strings("s", 2), ::testing::ElementsAre("x"));
  for (const char* name : {"half", "s", "b", "big", "list"})
    EXPECT_EQ(ParamOf([&] { params.Int(name, 0, INT64_MIN / 2, INT64_MAX / 2); }), name);
  EXPECT_EQ(ParamOf([&] { params.Int("i", 0, 6, 10); }), "i");
  for (const char* name : {"s", "b", "big", "list"})
    EXPECT_EQ(ParamOf([&] { params.Number(name, 0, 0, 10); }), name);
  for (const char* name : {"i", "b", "list"}) EXPECT_EQ(ParamOf([&] { params.String(name, ""); }), name);
  for (const char* name : {"i", "s", "list"}) EXPECT_EQ(ParamOf([&] { params.Bool(name, false); }), name);
  for (const char* name : {"i", "long", "deep"}) EXPECT_EQ(ParamOf([&] { params.Strings(name, 4); }), name);
  EXPECT_EQ(ParamOf([&] { params.Strings("list", 1); }), "list");
}

TEST(Params, SamplingTakesWhatClientsSend) {
  text::SamplerOptions defaults;
  defaults.temperature = 0.7f;
  defaults.top_k = 40;
  const Json json = {{"top_p", 0}, {"top_k", -1}, {"seed", -3}, {"logit_bias", {{"5", -100}, {"6", 2.5}}}};
  const text::SamplerOptions options = Params(json).Sampling(defaults, 100);
  EXPECT_EQ(options.temperature, 0.7f);
  EXPECT_EQ(options.top_k, 0);
  EXPECT_GT(options.top_p, 0);
  EXPECT_EQ(options.seed, static_cast<uint64_t>(-3));
  EXPECT_TRUE(std::isinf(options.logit_bias.at(5)));
  EXPECT_EQ(options.logit_bias.at(6), 2.5f);
  const Json none = Json::object();
  EXPECT_NE(Params(none).Sampling(defaults, 100).seed, Params(none).Sampling(defaults, 100).seed);
  for (const Json& bias :
       {Json(3), Json::array(), Json{{"100", 1}}, Json{{"-1", 1}}, Json{{"1x", 1}}, Json{{"", 1}},
        Json{{"1", "x"}}, Json{{"1", 1e30}}, Json{{"99999999999999999999", 1}}}) {
    const Json wrong = {{"logit_bias", bias}};
    EXPECT_EQ(ParamOf([&] { Params(wrong).Sampling(defaults, 100); }), "logit_bias") << bias;
  }
}

TEST(ParseObject, RefusesWhatIsNone) {
  EXPECT_EQ(ParseObject(R"({"a": "[[[[[\"{{{{"})")["a"], "[[[[[\"{{{{");
  for (const std::string& body :
       {std::string(), std::string("{"), std::string("[1]"), std::string("{\"a\": \xff}"),
        std::string("{} {}"), std::string(1 << 20, '['), "{\"a\": \"" + std::string("\xc3\x28") + "\"}"})
    EXPECT_THAT(ParamOf([&] { ParseObject(body); }), ::testing::HasSubstr("JSON")) << body.substr(0, 20);
  std::string deep;
  for (int i = 0; i < 65; ++i) deep += "{\"a\":";
  EXPECT_THAT(ParamOf([&] { ParseObject(deep); }), ::testing::HasSubstr("nested"));
}

// Each member of an object that keeps its order was looked up among all before it: a body of the 8 MB that are allowed kept
// one of the two threads for requests busy for some ten minutes.
TEST(ParseObject, RefusesObjectsOfManyMembersBeforeTheyAreBuilt) {
  std::string body = "{";
  for (int i = 0; i < 800000; ++i) body += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\":0";
  body += "}";
  const double seconds = onecopy::test::ThreadSeconds([&] {
    EXPECT_THAT(ParamOf([&] { ParseObject(body); }), ::testing::HasSubstr("more than 2048 members"));
  });
  EXPECT_LT(seconds, 5);
  // Many objects with as many members in all are no harm, and colons in strings are none.
  std::string list = "{\"a\": [";
  for (int i = 0; i < 3000; ++i) list += "{\"b\": \":::\", \"c\": 1},";
  EXPECT_EQ(ParseObject(list + "{}]}")["a"].size(), 3001u);
}

}  // namespace
}  // namespace onecopy::serve
