// What a mask costs a decode step, with a vocabulary of 152k tokens (Qwen2's): a document is replayed token by token.
// Counters: mask_us, the mean over its tokens; worst_us, the slowest one; both with the acceptance of the token.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>

#include "runtime/grammar/matcher.h"
#include "runtime/model/checkpoint.h"

namespace onecopy::grammar {
namespace {

using Json = nlohmann::ordered_json;

const text::Tokenizer& Qwen2() {
  static const text::Tokenizer tokenizer =
      text::Tokenizer::FromGguf(OpenCheckpoint(ONECOPY_TEST_TOKENIZERS "/ggml-vocab-qwen2.gguf").metadata);
  return tokenizer;
}

struct Scenario {
  const char* name;
  std::shared_ptr<const Grammar> (*grammar)();
  std::string document;
};

const char* const kInvoice =
    R"({"type":"object","properties":{"number":{"type":"string","pattern":"^INV-[0-9]{6}$"},
"customer":{"type":"string"},"currency":{"enum":["EUR","USD","JPY"]},"lines":{"type":"array","minItems":1,"items":{"type":"object",
"properties":{"sku":{"type":"string"},"quantity":{"type":"integer","minimum":1,"maximum":999},"price":{"type":"number","minimum":0},
"note":{"type":["string","null"]}},"required":["sku","quantity","price"],"additionalProperties":false}},"paid":{"type":"boolean"}},
"required":["number","customer","currency","lines","paid"],"additionalProperties":false})";
const char* const kCounted = R"({"type":"object","properties":{"title":{"type":"string","maxLength":80},
"summary":{"type":"string","minLength":20,"maxLength":1000}},"required":["title","summary"],"additionalProperties":false})";
const std::string kProse =
    "The river rose slowly over three days, and by Sunday the lower fields were under water; nobody in the "
    "village could "
    "remember a spring like it. Children rowed between the apple trees, and the postman came by boat. When "
    "the water fell, "
    "it left behind sand, driftwood, a blue door, and a piano that still had most of its strings.";

std::string InvoiceDocument() {
  Json document = {{"number", "INV-004217"},
                   {"customer", "Maria Oliveira, Rua das Flores 12, Porto"},
                   {"currency", "EUR"},
                   {"lines", Json::array()},
                   {"paid", false}};
  for (int i = 0; i < 12; ++i)
    document["lines"].push_back({{"sku", "A-" + std::to_string(100 + 7 * i)},
                                 {"quantity", 1 + 5 * i},
                                 {"price", 9.75 + i},
                                 {"note", i % 3 == 0 ? Json("fragile, keep upright") : Json(nullptr)}});
  return document.dump(2);
}

const Scenario kScenarios[] = {
    {"json_object", &Grammar::JsonObject, InvoiceDocument()},
    {"invoice", [] { return Grammar::FromJsonSchema(Json::parse(kInvoice)); }, InvoiceDocument()},
    {"counted_strings", [] { return Grammar::FromJsonSchema(Json::parse(kCounted)); },
     Json{{"title", kProse.substr(0, 70)}, {"summary", kProse}}.dump()},
    {"gbnf_prose", [] { return Grammar::FromGbnf("root ::= ([A-Za-z ,;.]+ [.] [ \\n]?)+"); }, kProse + "\n"},
};

void Replay(benchmark::State& state, const Scenario& scenario, bool warm) {
  const std::vector<int32_t> ids =
      Qwen2().Encode(scenario.document, {.add_special = false, .parse_special = false});
  auto table = std::make_shared<const TokenTable>(Qwen2());
  const auto grammar = scenario.grammar();
  double total_us = 0, worst_us = 0;
  size_t tokens = 0;
  bool first = warm;
  for (auto _ : state) {
    if (!warm) {
      state.PauseTiming();
      table = std::make_shared<const TokenTable>(Qwen2());
      state.ResumeTiming();
    }
    Matcher matcher(grammar, table);
    for (const int32_t id : ids) {
      const auto begin = std::chrono::steady_clock::now();
      benchmark::DoNotOptimize(matcher.Mask().data());
      if (!matcher.Accept(id)) return state.SkipWithError("the document is not of the grammar");
      const double us =
          std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count();
      if (first) continue;
      total_us += us;
      worst_us = std::max(worst_us, us);
      ++tokens;
    }
    first = false;
  }
  if (tokens > 0) state.counters["mask_us"] = total_us / static_cast<double>(tokens);
  state.counters["worst_us"] = worst_us;
  state.counters["tokens"] = static_cast<double>(ids.size());
}

void Compile(benchmark::State& state, const Scenario& scenario) {
  for (auto _ : state) benchmark::DoNotOptimize(scenario.grammar());
}

void Table(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(std::make_shared<const TokenTable>(Qwen2()));
}

const bool kRegistered = [] {
  benchmark::RegisterBenchmark("table", Table)->Unit(benchmark::kMillisecond);
  for (const Scenario& scenario : kScenarios) {
    const std::string name = scenario.name;
    benchmark::RegisterBenchmark(("compile/" + name).c_str(), Compile, scenario)
        ->Unit(benchmark::kMillisecond);
    // cold: the first sequence of a server; warm: another of the same grammar.
    benchmark::RegisterBenchmark(("cold/" + name).c_str(), Replay, scenario, false)
        ->Unit(benchmark::kMillisecond)
        ->Iterations(5);
    benchmark::RegisterBenchmark(("warm/" + name).c_str(), Replay, scenario, true)
        ->Unit(benchmark::kMillisecond)
        ->Iterations(20);
  }
  return true;
}();

}  // namespace
}  // namespace onecopy::grammar
