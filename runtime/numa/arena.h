// Arena: a rank's weight memory, one anonymous mapping bound to the rank's node. Also for the KV cache and
// workspace. Not thread-safe to create or destroy; the memory is plain.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/numa/places.h"

namespace onecopy::numa {

// Pages of an arena. kThp: transparent huge pages where the kernel has them (madvise). k2M, k1G: from the pools of
// the nodes (hugetlbfs), which the machine's owner fills beforehand. kOff: 4 KiB pages.
enum class HugePages { kThp, k2M, k1G, kOff };

// "thp", "2m", "1g", "off"; nothing for another text.
std::optional<HugePages> ParseHugePages(std::string_view text);
// What an arena's size and its extents are multiples of.
uint64_t Granule(HugePages pages);

struct ArenaOptions {
  HugePages pages = HugePages::kThp;
  bool lock = false;  // mlock2(2), each page when it is touched: never swapped
};

// Bytes in free pages of the node's pool; 0 for kThp and kOff, which have none.
uint64_t FreePoolBytes(int node, HugePages pages);

class Arena {
 public:
  Arena() = default;
  // Maps `extents` one behind the other, each bound (MPOL_BIND) to its node. Their sizes are rounded up to the granule.
  // Nothing is touched, so pages are placed, on the node, when first written; pages of a pool are taken at once, since
  // a pool that runs short later would be a bus error. Errors: kNoMemory where the mapping, a pool or the lock limit
  // does not suffice (says what to raise), kCommunication where the bind fails; all name bytes and node.
  Arena(std::string purpose, std::vector<Extent> extents, const ArenaOptions& options = {});
  // On one node (-1: unbound).
  Arena(std::string purpose, uint64_t bytes, int node);
  ~Arena();
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;

  uint8_t* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }
  const std::vector<Extent>& extents() const { return extents_; }
  // Whether huge pages of any kind were asked for.
  bool huge() const { return huge_; }

 private:
  void Map(const ArenaOptions& options);
  void BindExtents();
  void TakeFromPool(HugePages pages);
  void Lock();

  std::string purpose_;
  uint8_t* data_ = nullptr;
  uint64_t bytes_ = 0;
  std::vector<Extent> extents_;
  bool huge_ = false;
};

// Where a rank's arenas come from: the memory of its place, and how it is to be backed. Belongs to one rank.
class ArenaSource {
 public:
  ArenaSource() = default;  // unbound, transparent huge pages
  ArenaSource(Homes homes, ArenaOptions options) : homes_(std::move(homes)), options_(options) {}

  // Errors: as Arena. An arena smaller than a page of the pool is made without it, one of a few MiB from small pages.
  Arena Make(std::string purpose, uint64_t bytes);

 private:
  Homes homes_;
  ArenaOptions options_;
};

}  // namespace onecopy::numa
