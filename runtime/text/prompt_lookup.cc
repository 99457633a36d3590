#include "runtime/text/prompt_lookup.h"

#include <algorithm>

namespace onecopy::text {

uint64_t PromptLookup::HashOf(size_t begin, size_t length) const {
  uint64_t hash = 14695981039346656037ull;  // FNV-1a, a token at a time
  for (size_t i = begin; i < begin + length; ++i)
    hash = (hash ^ static_cast<uint32_t>(tokens_[i])) * 1099511628211ull;
  return hash;
}

void PromptLookup::Push(std::span<const int32_t> tokens) {
  for (int32_t token : tokens) {
    const size_t at = tokens_.size();
    for (size_t i = 0; i < kLengths.size(); ++i)
      if (at >= kLengths[i]) next_[i][HashOf(at - kLengths[i], kLengths[i])] = at;
    tokens_.push_back(token);
  }
}

std::vector<int32_t> PromptLookup::Draft(size_t n) const {
  const size_t end = tokens_.size();
  for (size_t i = 0; i < kLengths.size(); ++i) {
    const size_t length = kLengths[i];
    if (end < length) continue;
    const auto found = next_[i].find(HashOf(end - length, length));
    if (found == next_[i].end()) continue;
    const size_t from = found->second;
    if (!std::equal(tokens_.end() - static_cast<ptrdiff_t>(length), tokens_.end(),
                    tokens_.begin() + static_cast<ptrdiff_t>(from - length)))
      continue;  // another end with the same hash
    std::vector<int32_t> draft;
    while (draft.size() < n) {
      const size_t at = from + draft.size();
      draft.push_back(at < end ? tokens_[at] : draft[at - end]);
    }
    return draft;
  }
  return {};
}

}  // namespace onecopy::text
