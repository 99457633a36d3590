#include "runtime/grammar/context_store.h"

#include <algorithm>

#include "runtime/grammar/automaton.h"

namespace onecopy::grammar {
namespace {

// The finalizer of MurmurHash3, and one with other constants (splitmix64).
uint64_t MixA(uint64_t x) {
  x = (x ^ (x >> 33)) * 0xFF51AFD7ED558CCDu;
  x = (x ^ (x >> 33)) * 0xC4CEB9FE1A85EC53u;
  return x ^ (x >> 33);
}
uint64_t MixB(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

}  // namespace

ContextStore::ContextStore() : buckets_(64, 0) {
  nodes_.push_back({0, 0, 0, 0, {}});
  std::vector<Item> root = {{Automaton::kEndState, kNone}}, open = {{Automaton::kOpenState, kNone}};
  Intern(&root);
  Intern(&open);
}

ContentHash ContextStore::HashOf(std::span<const Item> items) const {
  ContentHash sum{0x243F6A8885A308D3u, 0x13198A2E03707344u};
  for (const Item& item : items) {
    const ContentHash& context = nodes_[item.context].hash;
    sum.a += MixA(context.a ^ MixA(item.state + 0x9E3779B97F4A7C15u));
    sum.b += MixB(context.b ^ MixB(item.state + 0xA4093822299F31D0u));
  }
  return {MixA(sum.a), MixB(sum.b)};
}

uint32_t ContextStore::Intern(std::vector<Item>* entries) {
  std::sort(entries->begin(), entries->end());
  entries->erase(std::unique(entries->begin(), entries->end()), entries->end());
  const ContentHash hash = HashOf(*entries);
  for (uint32_t at = buckets_[hash.a & (buckets_.size() - 1)]; at != 0; at = nodes_[at].next) {
    if (nodes_[at].hash == hash && std::ranges::equal(Entries(at), *entries)) return at;
  }
  Node node{static_cast<uint32_t>(entries_.size()), static_cast<uint32_t>(entries->size()), 0, 0, hash};
  for (const Item& entry : *entries) node.depth = std::max(node.depth, nodes_[entry.context].depth + 1);
  entries_.insert(entries_.end(), entries->begin(), entries->end());
  nodes_.push_back(node);
  const uint32_t context = static_cast<uint32_t>(nodes_.size() - 1);
  if (nodes_.size() > buckets_.size()) {
    buckets_.assign(buckets_.size() * 4, 0);
    for (uint32_t i = 1; i < nodes_.size(); ++i) Link(i);
  } else {
    Link(context);
  }
  return context;
}

void ContextStore::Link(uint32_t context) {
  uint32_t& head = buckets_[nodes_[context].hash.a & (buckets_.size() - 1)];
  nodes_[context].next = head;
  head = context;
}

void ContextStore::Truncate(size_t size) {
  while (nodes_.size() > size) {
    // Last in, first out: each is the head of its bucket.
    const Node& node = nodes_.back();
    buckets_[node.hash.a & (buckets_.size() - 1)] = node.next;
    entries_.resize(node.first_entry);
    nodes_.pop_back();
  }
}

void ContextStore::Compact(std::vector<Item>* items) {
  // A context is made after those in its entries, so one pass from the last finds all that are reached, and one from
  // the first makes them again.
  std::vector<bool> reached(nodes_.size(), false);
  for (const Item& item : *items) reached[item.context] = true;
  for (uint32_t i = static_cast<uint32_t>(nodes_.size()); i-- > 0;) {
    if (!reached[i]) continue;
    for (const Item& entry : Entries(i)) reached[entry.context] = true;
  }
  ContextStore kept;
  std::vector<uint32_t> renamed(nodes_.size(), 0);
  std::vector<Item> entries;
  for (uint32_t i = kRoot; i < nodes_.size(); ++i) {
    if (!reached[i]) continue;
    entries.assign(Entries(i).begin(), Entries(i).end());
    for (Item& entry : entries) entry.context = renamed[entry.context];
    renamed[i] = kept.Intern(&entries);
  }
  for (Item& item : *items) item.context = renamed[item.context];
  *this = std::move(kept);
}

}  // namespace onecopy::grammar
