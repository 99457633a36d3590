// Several byte vectors as one, for messages between hosts. Thread-safe.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

#include "runtime/base/check.h"

namespace onecopy::comm {

using ByteVectors = std::vector<std::vector<uint8_t>>;

// Lengths as 8 bytes each, then the bytes.
inline std::vector<uint8_t> Flatten(const ByteVectors& parts) {
  std::vector<uint8_t> flat(parts.size() * 8);
  for (size_t i = 0; i < parts.size(); ++i) {
    const uint64_t n = parts[i].size();
    memcpy(flat.data() + i * 8, &n, 8);
    flat.insert(flat.end(), parts[i].begin(), parts[i].end());
  }
  return flat;
}

inline ByteVectors Unflatten(const std::vector<uint8_t>& flat, size_t n_parts) {
  ByteVectors parts(n_parts);
  ONECOPY_CHECK(flat.size() >= n_parts * 8);
  size_t at = n_parts * 8;
  for (size_t i = 0; i < n_parts; ++i) {
    uint64_t n;
    memcpy(&n, flat.data() + i * 8, 8);
    ONECOPY_CHECK(n <= flat.size() - at);
    parts[i].assign(flat.begin() + at, flat.begin() + at + n);
    at += n;
  }
  return parts;
}

}  // namespace onecopy::comm
