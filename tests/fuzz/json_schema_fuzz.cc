// A JSON schema, and documents of it. The first four bytes choose the walk.
#include <nlohmann/json.hpp>

#include "runtime/text/json_scanner.h"
#include "tests/fuzz/grammar_walk.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onecopy;        // NOLINT
  using namespace onecopy::fuzz;  // NOLINT
  std::string_view source = View(data, size);
  const auto seed = TakeNumber<uint32_t>(&source);
  ByteTable();
  const Budget budget(20, size_t{500} << 20);
  const auto schema = text::ParseJson(source);
  if (!schema) return 0;
  std::shared_ptr<const grammar::Grammar> grammar;
  if (!Takes([&] { grammar = grammar::Grammar::FromJsonSchema(*schema); }, {}, {ErrorCode::kUsage})) return 0;
  for (uint32_t i = 0; i < 3; ++i) {
    const std::string document = CheckWalk(grammar, seed + i);
    Require(document.empty() || nlohmann::json::accept(document), "no JSON: {}", document);
  }
  return 0;
}
