// Residency audit: on which node does each page of a range really lie? Asks the kernel (move_pages(2) without
// target nodes), page by page, and moves nothing.
#pragma once

#include <cstdint>
#include <map>

#include "runtime/numa/arena.h"

namespace onecopy::numa {

struct Residency {
  uint64_t resident_bytes = 0;         // pages that exist
  std::map<int, uint64_t> node_bytes;  // node -> resident bytes there
  uint64_t huge_bytes = 0;             // part backed by huge pages (smaps AnonHugePages); of AuditArena only
  uint64_t misplaced_bytes = 0;        // on another node than bound to; of AuditArena only

  void Add(const Residency& other);
  // 0 … 1 of the resident bytes; 1 when nothing is resident.
  double ShareOn(int node) const;
  double ShareInPlace() const;
};

// data: page aligned. Errors: kInternal where the system call is refused (named, with what to allow).
Residency AuditResidency(const void* data, uint64_t bytes);

// The same for an arena, each extent against the node it is bound to (any node is right for an unbound one).
Residency AuditArena(const Arena& arena);

}  // namespace onecopy::numa
