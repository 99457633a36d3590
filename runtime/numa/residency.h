// Residency audit: on which node does each page of a range really lie? Asks the kernel (move_pages(2) without
// target nodes), page by page, and moves nothing.
#pragma once

#include <cstdint>
#include <map>

namespace onecopy::numa {

struct Residency {
  uint64_t resident_bytes = 0;         // pages that exist
  std::map<int, uint64_t> node_bytes;  // node -> resident bytes there
  uint64_t huge_bytes = 0;             // part backed by huge pages (smaps AnonHugePages)
  double ShareOn(int node) const;      // 0 … 1 of the resident bytes; 1 when nothing is resident
};

// data: page aligned. Errors: kInternal where the system call is refused (named, with what to allow).
Residency AuditResidency(const void* data, uint64_t bytes);

}  // namespace onecopy::numa
