// GrammarCache: grammars that were compiled before, by their source, the least recently used of them dropped: a large schema
// takes up to a second, and its masks are known by its grammar's id. Thread-safe.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <unordered_map>

#include "runtime/grammar/grammar.h"

namespace onecopy::grammar {

class GrammarCache {
 public:
  static constexpr size_t kDefaultBytes = size_t{64} << 20;
  static constexpr size_t kDefaultCount = 256;

  // max_count: at least 1.
  explicit GrammarCache(size_t max_bytes = kDefaultBytes, size_t max_count = kDefaultCount)
      : max_bytes_(max_bytes), max_count_(max_count) {}

  // As Grammar::FromGbnf and FromJsonSchema, errors included; what fails is not kept. Schemas are told apart by their text,
  // the order of properties included, as that decides the order of the answer's.
  std::shared_ptr<const Grammar> OfGbnf(std::string_view text);
  std::shared_ptr<const Grammar> OfJsonSchema(const nlohmann::ordered_json& schema);

  struct Stats {
    uint64_t found = 0, compiled = 0;
    size_t count = 0, bytes = 0;  // at the moment
  };
  Stats stats() const;

 private:
  struct Entry {
    std::string source;
    std::shared_ptr<const Grammar> grammar;
    size_t bytes() const;
  };
  std::shared_ptr<const Grammar> Find(const std::string& source);
  std::shared_ptr<const Grammar> Insert(std::string source, std::shared_ptr<const Grammar> grammar);

  const size_t max_bytes_, max_count_;
  mutable std::mutex mutex_;  // of what follows; nothing is compiled under it
  Stats stats_;
  std::list<Entry> entries_;                                                    // the last used first
  std::unordered_map<std::string_view, std::list<Entry>::iterator> by_source_;  // keys are of the entries
};

}  // namespace onecopy::grammar
