// A grammar in GBNF, and texts of it. The first four bytes choose the walk.
#include "tests/fuzz/grammar_walk.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onecopy;        // NOLINT
  using namespace onecopy::fuzz;  // NOLINT
  std::string_view source = View(data, size);
  const auto seed = TakeNumber<uint32_t>(&source);
  ByteTable();
  // Most of it is fixed limits: a few bytes may ask for 300,000 states.
  const Budget budget(20, size_t{500} << 20);
  std::shared_ptr<const grammar::Grammar> grammar;
  if (!Takes([&] { grammar = grammar::Grammar::FromGbnf(source); }, {}, {ErrorCode::kUsage})) return 0;
  for (uint32_t i = 0; i < 3; ++i) CheckWalk(grammar, seed + i);
  return 0;
}
