#include "runtime/grammar/grammar.h"

#include <atomic>

#include "runtime/base/error.h"
#include "runtime/grammar/automaton.h"
#include "runtime/grammar/gbnf.h"
#include "runtime/grammar/item_set.h"
#include "runtime/grammar/json_schema.h"
#include "runtime/grammar/json_values.h"

namespace onecopy::grammar {
namespace {

std::shared_ptr<const Grammar> CompileShared(const Rules& rules, uint32_t root) {
  auto grammar = std::make_shared<const Grammar>(Compile(rules, root));
  ContextStore contexts;
  Items items;
  Stepper(&grammar->automaton()).Start(&contexts, &items);
  if (items.empty())
    Fail(ErrorCode::kUsage,
         "the grammar has too many alternatives that are rules of their own at its beginning, expected at "
         "most {}; "
         "let a text or property that comes first tell them apart",
         Stepper::kMaxItems);
  return grammar;
}

}  // namespace

Grammar::Grammar(Automaton automaton) : automaton_(std::make_unique<const Automaton>(std::move(automaton))) {
  static std::atomic<uint64_t> next_id = 0;
  id_ = next_id++;
}

Grammar::~Grammar() = default;

size_t Grammar::bytes() const {
  const Automaton& a = *automaton_;
  return sizeof *this + sizeof a + a.states.capacity() * sizeof(State) +
         a.byte_edges.capacity() * sizeof(ByteEdge) + a.calls.capacity() * sizeof(CallEdge) +
         a.rules.capacity() * sizeof(RuleInfo);
}

std::shared_ptr<const Grammar> Grammar::FromGbnf(std::string_view text) {
  Rules rules;
  const uint32_t root = ParseGbnf(text, &rules);
  return CompileShared(rules, root);
}

std::shared_ptr<const Grammar> Grammar::FromJsonSchema(const nlohmann::ordered_json& schema) {
  Rules rules;
  const uint32_t root = RulesOfJsonSchema(schema, &rules);
  return CompileShared(rules, root);
}

std::shared_ptr<const Grammar> Grammar::JsonObject() {
  static const std::shared_ptr<const Grammar> object = [] {
    Rules rules;
    const uint32_t root = JsonValues(&rules).AnyObject();
    return CompileShared(rules, root);
  }();
  return object;
}

}  // namespace onecopy::grammar
