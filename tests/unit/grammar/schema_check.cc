// For schema_test.py: a line of JSON in, a line out. {"schema": … (or "gbnf": text), "walks": how many texts to draw, "tokens": drawn
// freely in each before it closes, "seed": …, "texts": [to be accepted or not]} gives {"error": …} or {"walks":
// [{"text", "fault"}], "accepted": [true, …]}.
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "runtime/model/checkpoint.h"
#include "tests/unit/grammar/walk.h"

namespace onecopy::grammar {
namespace {

using Json = nlohmann::ordered_json;

Json Answer(const Json& question, const std::shared_ptr<const TokenTable>& table) {
  std::shared_ptr<const Grammar> grammar;
  try {
    grammar = question.contains("gbnf") ? Grammar::FromGbnf(question["gbnf"].get<std::string>())
                                        : Grammar::FromJsonSchema(question["schema"]);
  } catch (const Error& error) {
    return {{"error", error.what()}};
  }
  Json answer = {{"walks", Json::array()}, {"accepted", Json::array()}};
  std::mt19937 random(question["seed"].get<uint32_t>());
  for (int i = 0; i < question["walks"].get<int>(); ++i) {
    Matcher matcher(grammar, table);
    const Walked walked = Walk(&matcher, *table, question["tokens"].get<size_t>() * i, &random);
    answer["walks"].push_back({{"text", walked.text}, {"fault", walked.fault}});
  }
  for (const Json& text : question["texts"]) {
    Matcher matcher(grammar, table);
    answer["accepted"].push_back(matcher.AcceptText(text.get<std::string>()) && matcher.can_end());
  }
  return answer;
}

}  // namespace
}  // namespace onecopy::grammar

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "Usage: schema_check MODEL.gguf\n");
    return 2;
  }
  using namespace onecopy::grammar;
  const auto table = std::make_shared<const TokenTable>(
      onecopy::text::Tokenizer::FromGguf(onecopy::OpenCheckpoint(argv[1]).metadata));
  for (std::string line; std::getline(std::cin, line);) {
    // Bytes that are not UTF-8 would be a fault of the grammar: they arrive as U+FFFD, which the test looks for.
    std::cout << Answer(Json::parse(line), table).dump(-1, ' ', true, Json::error_handler_t::replace)
              << std::endl;
  }
  return 0;
}
