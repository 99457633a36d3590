#include "runtime/grammar/mask_builder.h"

#include <algorithm>

namespace onecopy::grammar {
namespace {

constexpr uint64_t kOfState = 0x5354415445;  // no content hash but by chance of 2^-64
constexpr uint32_t kFewBytes = 16;  // a state that reads no more is walked each time: as quick as its mask

void SetBit(int32_t id, TokenMask* mask) {
  mask->bits[id / 64] |= uint64_t{1} << (id % 64);
}

MaskKey KeyOfState(const Grammar& grammar, uint32_t state) {
  const Automaton& automaton = grammar.automaton();
  const uint32_t rule = automaton.states[state].rule;
  const RuleInfo& info = automaton.rules[rule];
  if (info.common != CommonRule::kNone)
    return {static_cast<uint64_t>(info.common), state - info.start, kOfState};
  return {kFirstGrammarOwner + grammar.id(), state, kOfState};
}

}  // namespace

std::shared_ptr<TokenMask> MaskBuilder::Build(std::span<const Item> items, bool* costly) {
  const size_t num_contexts = contexts_->size();
  auto mask = std::make_shared<TokenMask>();
  mask->bits.resize(tokens_.mask_words());
  *costly = !AddSet(items, mask.get());
  contexts_->Truncate(num_contexts);
  return *costly ? BuildOfOneByteTokens(items) : mask;
}

std::shared_ptr<TokenMask> MaskBuilder::BuildOfOneByteTokens(std::span<const Item> items) {
  const size_t num_contexts = contexts_->size();
  auto mask = std::make_shared<TokenMask>();
  mask->bits.resize(tokens_.mask_words());
  Walk(0, static_cast<uint32_t>(tokens_.nodes().size()), 0, items, {0, 1}, mask.get());
  mask->open_nodes.clear();
  contexts_->Truncate(num_contexts);
  return mask;
}

bool MaskBuilder::AddSet(std::span<const Item> items, TokenMask* mask) {
  std::vector<Item> sorted(items.begin(), items.end());
  std::sort(sorted.begin(), sorted.end());
  std::shared_ptr<const TokenMask> of_state;
  std::vector<std::pair<uint32_t, uint32_t>> todo;  // context, open node
  for (size_t i = 0; i < sorted.size(); ++i) {
    const uint32_t state = sorted[i].state;
    uint32_t num_bytes = 0;
    for (const ByteEdge& edge : automaton_.ByteEdges(state)) num_bytes += edge.hi - edge.lo + 1u;
    if (num_bytes <= kFewBytes) {
      const uint32_t all = num_bytes == 0 ? 0 : static_cast<uint32_t>(tokens_.nodes().size());
      if (!Walk(0, all, 0, {&sorted[i], 1}, {}, mask)) return false;
      continue;
    }
    if (i == 0 || sorted[i - 1].state != state) {
      of_state = MaskOfState(state);
      if (of_state == nullptr) return false;
      for (size_t word = 0; word < mask->bits.size(); ++word) mask->bits[word] |= of_state->bits[word];
    }
    for (const uint32_t node : of_state->open_nodes) todo.emplace_back(sorted[i].context, node);
  }
  // By context, so that what follows in one is found once.
  std::sort(todo.begin(), todo.end());
  Items after;
  bool reads = false;
  const size_t num_contexts = contexts_->size();
  for (size_t i = 0; i < todo.size(); ++i) {
    const auto [context, node] = todo[i];
    if (i == 0 || todo[i - 1].first != context) {
      contexts_->Truncate(num_contexts);
      const std::vector<Item> entries(contexts_->Entries(context).begin(), contexts_->Entries(context).end());
      stepper_.Close(entries, contexts_, &after);
      reads = std::any_of(after.begin(), after.end(),
                          [&](const Item& item) { return !automaton_.ByteEdges(item.state).empty(); });
    }
    const TokenTable::Node& at = tokens_.nodes()[node];
    if (!reads || AllSet(node + 1, at.end, *mask)) continue;
    if (!Walk(node + 1, at.end, at.depth, after, {}, mask)) return false;
  }
  return true;
}

std::shared_ptr<const TokenMask> MaskBuilder::MaskOfState(uint32_t state) {
  const MaskKey key = KeyOfState(grammar_, state);
  if (auto found = tokens_.cache().Find(key)) return found;
  const Item item{state, ContextStore::kOpen};
  const State& of = automaton_.states[state];
  if (of.twin != state) return MaskByTwin(of, item);
  const size_t num_contexts = contexts_->size();
  auto mask = std::make_shared<TokenMask>();
  mask->bits.resize(tokens_.mask_words());
  const bool done = Walk(0, static_cast<uint32_t>(tokens_.nodes().size()), 0, {&item, 1}, {}, mask.get());
  contexts_->Truncate(num_contexts);
  if (!done) return nullptr;
  tokens_.cache().Insert(key, mask);
  return mask;
}

// The twin's mask, and the tokens beyond the horizon walked from the state itself: not kept, as the next step is likely
// to stand elsewhere in the repetition.
std::shared_ptr<const TokenMask> MaskBuilder::MaskByTwin(const State& state, const Item& item) {
  std::shared_ptr<const TokenMask> twin = MaskOfState(state.twin);
  if (twin == nullptr || state.horizon >= tokens_.max_token_bytes()) return twin;
  auto mask = std::make_shared<TokenMask>();
  mask->bits = twin->bits;
  for (const int32_t id : tokens_.LongerThan(state.horizon))
    mask->bits[id / 64] &= ~(uint64_t{1} << (id % 64));
  const size_t num_contexts = contexts_->size();
  const Depths beyond{state.horizon};
  const bool done = Walk(0, static_cast<uint32_t>(tokens_.nodes().size()), 0, {&item, 1}, beyond, mask.get());
  contexts_->Truncate(num_contexts);
  for (const uint32_t node : twin->open_nodes)
    if (tokens_.nodes()[node].depth <= state.horizon) mask->open_nodes.push_back(node);
  return done ? mask : nullptr;
}

bool MaskBuilder::AllSet(uint32_t begin, uint32_t end, const TokenMask& mask) const {
  return std::ranges::all_of(tokens_.Tokens(begin, end),
                             [&](int32_t id) { return mask.bits[id / 64] >> (id % 64) & 1; });
}

// Over the nodes begin to end - 1, all below one of `depth`, at which `from` holds.
bool MaskBuilder::Walk(uint32_t begin, uint32_t end, uint32_t depth, std::span<const Item> from,
                       const Depths& depths, TokenMask* mask) {
  if (levels_.empty()) levels_.resize(8);
  levels_[0].plain = false;
  levels_[0].items.assign(from.begin(), from.end());
  levels_[0].num_contexts = contexts_->size();
  const std::span<const TokenTable::Node> nodes = tokens_.nodes();
  for (uint32_t i = begin; i < end;) {
    const TokenTable::Node& node = nodes[i];
    const uint32_t level = node.depth - depth;
    if (node.depth > depths.most || node.deepest <= depths.above) {
      i = node.end;
      continue;
    }
    if (level + 1 >= levels_.size()) levels_.resize(levels_.size() * 2);
    Level& at = levels_[level];
    if (!Step(&levels_[level - 1], node.byte, &at)) {
      i = node.end;
      continue;
    }
    if (depths.most > 1 && Overworked()) return false;
    const bool counts = node.depth > depths.above;
    if (counts)
      for (const int32_t id : tokens_.Tokens(i, i + 1)) SetBit(id, mask);
    if (!at.plain) {
      const auto open =
          std::find(at.items.begin(), at.items.end(), Item{Automaton::kOpenState, ContextStore::kNone});
      if (open != at.items.end()) {
        if (counts && node.end > i + 1) mask->open_nodes.push_back(i);
        at.items.erase(open);
      }
    }
    ++i;
  }
  return true;
}

// False: nothing goes on so.
bool MaskBuilder::Step(Level* from, uint8_t byte, Level* to) {
  Item one = from->item;
  if (from->plain) {
    ++plain_steps_;
    uint32_t num_targets = 0;
    for (const ByteEdge& edge : automaton_.ByteEdges(one.state)) {
      if (edge.lo > byte) break;
      if (edge.hi < byte) continue;
      to->item = {edge.to, one.context};
      ++num_targets;
    }
    if (num_targets == 0) return false;
    to->num_contexts = from->num_contexts;
    to->plain = num_targets == 1 && IsPlain(to->item.state);
    if (to->plain) return true;
  }
  if (contexts_->size() > from->num_contexts) contexts_->Truncate(from->num_contexts);
  const std::span<const Item> items = from->plain ? std::span<const Item>(&one, 1) : from->items;
  stepper_.Advance(items, byte, contexts_, &to->items);
  to->num_contexts = contexts_->size();
  if (to->items.empty()) return false;
  to->plain =
      to->items.size() == 1 && IsPlain(to->items[0].state) && to->items[0].state != Automaton::kOpenState;
  if (to->plain) to->item = to->items[0];
  return true;
}

}  // namespace onecopy::grammar
