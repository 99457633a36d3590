#include "runtime/grammar/matcher.h"

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/grammar/automaton.h"
#include "runtime/grammar/mask_builder.h"

namespace onecopy::grammar {
namespace {

constexpr size_t kFirstCompaction = 512;
constexpr uint32_t kMaxCostlyMasks = 4;  // after so many, the sequence gets masks of one-byte tokens only

}  // namespace

Matcher::Matcher(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTable> tokens)
    : grammar_(std::move(grammar)), tokens_(std::move(tokens)), compact_at_(kFirstCompaction) {
  ONECOPY_CHECK(grammar_ != nullptr && tokens_ != nullptr);
  Stepper(&grammar_->automaton()).Start(&contexts_, &items_);
}

bool Matcher::can_end() const {
  return std::find(items_.begin(), items_.end(), Item{Automaton::kEndState, ContextStore::kNone}) !=
         items_.end();
}

bool Matcher::AcceptText(std::string_view bytes) {
  if (finished_) return false;
  Stepper stepper(&grammar_->automaton());
  const size_t num_contexts = contexts_.size();
  Items items = items_, next;
  for (const char byte : bytes) {
    stepper.Advance(items, static_cast<uint8_t>(byte), &contexts_, &next);
    std::swap(items, next);
    if (!items.empty()) continue;
    contexts_.Truncate(num_contexts);
    return false;
  }
  items_ = std::move(items);
  mask_.reset();
  if (contexts_.size() > compact_at_) {
    contexts_.Compact(&items_);
    compact_at_ = std::max(kFirstCompaction, contexts_.size() * 2);
  }
  return true;
}

bool Matcher::Accept(int32_t id) {
  if (finished_ || id < 0 || id >= tokens_->vocab_size()) return false;
  if (tokens_->IsEnd(id)) {
    if (!can_end()) return false;
    finished_ = true;
    mask_.reset();
    return true;
  }
  const std::string& piece = tokens_->Piece(id);
  return !piece.empty() && AcceptText(piece);
}

std::span<const uint64_t> Matcher::Mask() {
  if (mask_ == nullptr) mask_ = Compute();
  return mask_->bits;
}

std::shared_ptr<const TokenMask> Matcher::Compute() {
  if (finished_) {
    auto none = std::make_shared<TokenMask>();
    none->bits.resize(tokens_->mask_words());
    return none;
  }
  // Where no token reaches the horizon, twins have the same mask, and one key.
  Items items = items_;
  for (Item& item : items) {
    const State& state = grammar_->automaton().states[item.state];
    if (state.horizon >= tokens_->max_token_bytes()) item.state = state.twin;
  }
  std::sort(items.begin(), items.end());
  items.erase(std::unique(items.begin(), items.end()), items.end());
  const ContentHash hash = contexts_.HashOf(items);
  const MaskKey key{kFirstGrammarOwner + grammar_->id(), hash.a, hash.b};
  if (auto found = tokens_->cache().Find(key)) return found;
  MaskBuilder builder(*grammar_, *tokens_, &contexts_);
  bool costly = num_costly_masks_ >= kMaxCostlyMasks;
  std::shared_ptr<TokenMask> mask;
  if (costly) {
    mask = builder.BuildOfOneByteTokens(items);
  } else {
    mask = builder.Build(items, &costly);
    if (costly) ++num_costly_masks_;
  }
  if (can_end())
    for (const int32_t id : tokens_->end_ids()) mask->bits[id / 64] |= uint64_t{1} << (id % 64);
  if (!costly) tokens_->cache().Insert(key, mask);
  return mask;
}

}  // namespace onecopy::grammar
