// Residency by move_pages(2) in its query form (no target nodes). Sources: move_pages(2), proc(5) smaps.
#include "runtime/numa/residency.h"

#include <fmt/format.h>
#include <numaif.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <fstream>
#include <string>
#include <system_error>
#include <vector>

#include "runtime/base/check.h"
#include "runtime/base/error.h"
#include "runtime/numa/policy.h"
#include "runtime/numa/sysfs.h"

namespace onecopy::numa {
namespace {

// Pages asked for in one call. The kernel itself works in chunks of 16; beyond some thousand, larger batches
// gain nothing and cost memory.
constexpr uint64_t kBatch = 16384;

// Adds one batch's answers. Not resident: ENOENT (never touched) and EFAULT (the shared zero page, read but
// never written). Anything else is a page whose place is unknown, which must not pass for a good one.
void Count(const std::vector<void*>& pages, const std::vector<int>& status, uint64_t page_bytes,
           Residency* out) {
  for (size_t i = 0; i < pages.size(); ++i) {
    if (status[i] == -ENOENT || status[i] == -EFAULT) continue;
    if (status[i] < 0) {
      Fail(ErrorCode::kInternal, "residency audit: move_pages cannot tell the node of page {}: {}",
           fmt::ptr(pages[i]), std::generic_category().message(-status[i]));
    }
    out->resident_bytes += page_bytes;
    out->node_bytes[status[i]] += page_bytes;
  }
}

// For one memory node and a kernel that refuses move_pages: which pages exist is enough, there is one place
// for them.
void CountByMincore(const std::vector<void*>& pages, uint64_t page_bytes, int node, Residency* out) {
  std::vector<unsigned char> present(pages.size());
  if (mincore(pages.front(), pages.size() * page_bytes, present.data()) != 0) {
    Fail(ErrorCode::kInternal, "residency audit: mincore: {}", std::generic_category().message(errno));
  }
  const auto count = static_cast<uint64_t>(
      std::count_if(present.begin(), present.end(), [](unsigned char flags) { return (flags & 1) != 0; }));
  if (count == 0) return;
  out->resident_bytes += count * page_bytes;
  out->node_bytes[node] += count * page_bytes;
}

void QueryBatch(const std::vector<void*>& pages, uint64_t page_bytes, Residency* out) {
  std::vector<int> status(pages.size(), -EIO);
  // move_pages takes void** for historical reasons and does not write through it.
  auto** addresses = const_cast<void**>(pages.data());
  if (move_pages(0, pages.size(), addresses, nullptr, status.data(), 0) == 0) {
    Count(pages, status, page_bytes, out);
    return;
  }
  const int error = errno;
  const std::vector<int> nodes = MemoryNodes();
  if (nodes.size() == 1 && RefusalIsHarmless(error, nodes[0])) {
    CountByMincore(pages, page_bytes, nodes[0], out);
    return;
  }
  Fail(error == ENOMEM ? ErrorCode::kNoMemory : ErrorCode::kCommunication, "residency audit: move_pages: {}",
       Explain(error, nodes.empty() ? 0 : nodes[0]));
}

// AnonHugePages, and pages of a pool, of the mappings that overlap [begin, end). smaps counts per mapping, not per
// address: exact for an Arena, which shares no mapping with others.
uint64_t HugeBytes(uint64_t begin, uint64_t end) {
  std::ifstream smaps("/proc/self/smaps");
  uint64_t huge = 0;
  bool inside = false;
  for (std::string line; std::getline(smaps, line);) {
    uint64_t from = 0, to = 0;
    if (std::sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " ", &from, &to) == 2) {
      if (from >= end) break;  // mappings come in the order of their addresses
      inside = begin < to;
    } else if (inside) {
      huge +=
          MeminfoBytes(line, "AnonHugePages").value_or(0) + MeminfoBytes(line, "Private_Hugetlb").value_or(0);
    }
  }
  return std::min(huge, end - begin);
}

}  // namespace

void Residency::Add(const Residency& other) {
  resident_bytes += other.resident_bytes;
  huge_bytes += other.huge_bytes;
  misplaced_bytes += other.misplaced_bytes;
  for (const auto& [node, bytes] : other.node_bytes) node_bytes[node] += bytes;
}

double Residency::ShareInPlace() const {
  if (resident_bytes == 0) return 1;
  return 1 - static_cast<double>(misplaced_bytes) / static_cast<double>(resident_bytes);
}

double Residency::ShareOn(int node) const {
  if (resident_bytes == 0) return 1;
  const auto it = node_bytes.find(node);
  return it == node_bytes.end() ? 0 : static_cast<double>(it->second) / static_cast<double>(resident_bytes);
}

Residency AuditResidency(const void* data, uint64_t bytes) {
  const auto page_bytes = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<uint64_t>(data);
  if (begin % page_bytes != 0) {
    Fail(ErrorCode::kInternal,
         "residency audit: the range must begin at a page, found address {}, pages of {} bytes",
         fmt::ptr(data), page_bytes);
  }
  Residency out;
  if (bytes == 0) return out;
  const uint64_t num_pages = DivUp(bytes, page_bytes);
  auto* page = static_cast<uint8_t*>(const_cast<void*>(data));
  for (uint64_t done = 0; done < num_pages; done += kBatch) {
    std::vector<void*> pages(std::min(kBatch, num_pages - done));
    for (void*& address : pages) {
      address = page;
      page += page_bytes;
    }
    QueryBatch(pages, page_bytes, &out);
  }
  return out;
}

Residency AuditArena(const Arena& arena) {
  Residency all;
  const uint8_t* at = arena.data();
  for (const Extent& extent : arena.extents()) {
    Residency part = AuditResidency(at, extent.bytes);
    if (extent.node >= 0) {
      const auto here = part.node_bytes.find(extent.node);
      part.misplaced_bytes = part.resident_bytes - (here == part.node_bytes.end() ? 0 : here->second);
    }
    all.Add(part);
    at += extent.bytes;
  }
  // smaps takes the kernel a millisecond in a process with MPI's libraries: with many ranks on few cores, a fifth of what
  // starts them.
  const auto begin = reinterpret_cast<uint64_t>(arena.data());
  if (arena.huge()) all.huge_bytes = HugeBytes(begin, begin + arena.bytes());
  return all;
}

}  // namespace onecopy::numa
