#include "runtime/grammar/grammar_cache.h"

#include <nlohmann/json.hpp>

namespace onecopy::grammar {

size_t GrammarCache::Entry::bytes() const {
  return sizeof *this + source.size() + grammar->bytes();
}

std::shared_ptr<const Grammar> GrammarCache::OfGbnf(std::string_view text) {
  std::string source = "gbnf " + std::string(text);
  if (auto found = Find(source)) return found;
  return Insert(std::move(source), Grammar::FromGbnf(text));
}

std::shared_ptr<const Grammar> GrammarCache::OfJsonSchema(const nlohmann::ordered_json& schema) {
  std::string source =
      "json " + schema.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  if (auto found = Find(source)) return found;
  return Insert(std::move(source), Grammar::FromJsonSchema(schema));
}

std::shared_ptr<const Grammar> GrammarCache::Find(const std::string& source) {
  const std::lock_guard lock(mutex_);
  const auto found = by_source_.find(source);
  if (found == by_source_.end()) return nullptr;
  ++stats_.found;
  entries_.splice(entries_.begin(), entries_, found->second);
  return entries_.front().grammar;
}

// What another thread has compiled in the meantime is used, so that its masks are.
std::shared_ptr<const Grammar> GrammarCache::Insert(std::string source,
                                                    std::shared_ptr<const Grammar> grammar) {
  Entry entry = {std::move(source), std::move(grammar)};
  const std::lock_guard lock(mutex_);
  ++stats_.compiled;
  if (const auto found = by_source_.find(entry.source); found != by_source_.end())
    return found->second->grammar;
  if (entry.bytes() > max_bytes_) return entry.grammar;
  entries_.push_front(std::move(entry));
  by_source_.emplace(entries_.front().source, entries_.begin());
  stats_.bytes += entries_.front().bytes();
  while (stats_.bytes > max_bytes_ || entries_.size() > max_count_) {
    stats_.bytes -= entries_.back().bytes();
    by_source_.erase(entries_.back().source);
    entries_.pop_back();
  }
  return entries_.front().grammar;
}

GrammarCache::Stats GrammarCache::stats() const {
  const std::lock_guard lock(mutex_);
  Stats stats = stats_;
  stats.count = entries_.size();
  return stats;
}

}  // namespace onecopy::grammar
