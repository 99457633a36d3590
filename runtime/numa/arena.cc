// Arena by mmap(2), mbind(2), madvise(2) and mlock2(2). The mapping is aligned to its granule, so that huge pages fit
// from its first byte, and has an inaccessible page on either side: a kernel that runs past a shard faults instead of
// reading another arena, and the mapping never merges with a neighbour, whose huge pages /proc/self/smaps would then
// count as ours.
#include "runtime/numa/arena.h"

#include <fmt/format.h>
#include <linux/mman.h>
#include <numaif.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <map>
#include <system_error>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/error.h"
#include "runtime/base/sizes.h"
#include "runtime/numa/policy.h"
#include "runtime/numa/sysfs.h"

namespace onecopy::numa {
namespace {

constexpr uint64_t kSmallPage = 4096;
constexpr uint64_t kHugePage = uint64_t{2} << 20;
constexpr uint64_t kGiantPage = uint64_t{1} << 30;
constexpr uint64_t kGuard = 4096;
// Address translations of so much memory in small pages stay in the second-level TLB of a server's core (1536 and more),
// so that huge ones gain nothing, and each costs the clearing of 2 MiB at its first touch, of which little may be used:
// 5 ms in a virtual machine that has to get it from its host, several times over in each of 24 ranks of a small model.
constexpr uint64_t kFewBytes = uint64_t{6} << 20;

struct Mode {
  std::string_view name;
  HugePages pages;
  uint64_t granule;
};
// 4 KiB pages are rounded to 2 MiB all the same: an arena's size does not depend on how it is backed.
constexpr std::array kModes = {Mode{"thp", HugePages::kThp, kHugePage}, Mode{"2m", HugePages::k2M, kHugePage},
                               Mode{"1g", HugePages::k1G, kGiantPage},
                               Mode{"off", HugePages::kOff, kHugePage}};

bool FromPool(HugePages pages) {
  return pages == HugePages::k2M || pages == HugePages::k1G;
}

// `bytes` of inaccessible memory at a multiple of `alignment`, a guard on either side; nullptr with errno on failure.
uint8_t* Reserve(uint64_t bytes, uint64_t alignment) {
  const uint64_t span = bytes + 2 * alignment;
  void* mapped = mmap(nullptr, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* base = static_cast<uint8_t*>(mapped);
  const uint64_t at = RoundUp(reinterpret_cast<uint64_t>(base) + kGuard, alignment);
  uint8_t* data = base + (at - reinterpret_cast<uint64_t>(base));
  uint8_t* end = data + bytes + kGuard;
  if (data - kGuard > base) munmap(base, static_cast<size_t>(data - kGuard - base));
  munmap(end, static_cast<size_t>(base + span - end));
  return data;
}

void Release(uint8_t* data, uint64_t bytes) {
  if (data == nullptr) return;
  // In three: a mapping of pool pages can only be removed by itself.
  munmap(data - kGuard, kGuard);
  munmap(data, bytes);
  munmap(data + bytes, kGuard);
}

std::string Message(int error) {
  return std::generic_category().message(error);
}

std::string PoolFile(int node, uint64_t page, const char* name) {
  return fmt::format("/sys/devices/system/node/node{}/hugepages/hugepages-{}kB/{}", node, page / 1024, name);
}

}  // namespace

std::optional<HugePages> ParseHugePages(std::string_view text) {
  for (const Mode& mode : kModes)
    if (mode.name == text) return mode.pages;
  return std::nullopt;
}

uint64_t Granule(HugePages pages) {
  for (const Mode& mode : kModes)
    if (mode.pages == pages) return mode.granule;
  Fail(ErrorCode::kInternal, "huge page mode {} has no size", static_cast<int>(pages));
}

uint64_t FreePoolBytes(int node, HugePages pages) {
  if (!FromPool(pages)) return 0;
  return ReadNumber("", PoolFile(node, Granule(pages), "free_hugepages")).value_or(0) * Granule(pages);
}

Arena::Arena(std::string purpose, std::vector<Extent> extents, const ArenaOptions& options)
    : purpose_(std::move(purpose)), extents_(std::move(extents)), huge_(options.pages != HugePages::kOff) {
  // Sums must not wrap: no machine has 2^62 bytes.
  constexpr uint64_t kInsane = uint64_t{1} << 62;
  for (Extent& extent : extents_) {
    if (extent.bytes >= kInsane || bytes_ >= kInsane)
      Fail(ErrorCode::kNoMemory, "{}: cannot map {} bytes for node {}: more than any machine has", purpose_,
           extent.bytes, extent.node);
    extent.bytes = RoundUp(extent.bytes, Granule(options.pages));
    bytes_ += extent.bytes;
  }
  if (bytes_ == 0) return;
  try {
    Map(options);
    // A hint: where the kernel has no huge pages it is refused, the residency report shows 0 huge bytes and doctor says
    // what to switch on.
    if (!FromPool(options.pages)) (void)madvise(data_, bytes_, huge_ ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    BindExtents();
    if (FromPool(options.pages)) TakeFromPool(options.pages);
    if (options.lock) Lock();
  } catch (...) {
    Release(std::exchange(data_, nullptr), bytes_);
    throw;
  }
}

Arena::Arena(std::string purpose, uint64_t bytes, int node)
    : Arena(std::move(purpose), bytes == 0 ? std::vector<Extent>() : std::vector<Extent>{{node, bytes}}) {}

void Arena::Map(const ArenaOptions& options) {
  const uint64_t granule = Granule(options.pages);
  data_ = Reserve(bytes_, granule);
  bool mapped = data_ != nullptr;
  if (mapped && FromPool(options.pages)) {
    const int size = options.pages == HugePages::k2M ? MAP_HUGE_2MB : MAP_HUGE_1GB;
    // MAP_NORESERVE: what is reserved comes from all nodes' pools together, which says nothing about the right one.
    mapped =
        mmap(data_, bytes_, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE | MAP_HUGETLB | size, -1, 0) == data_;
    if (!mapped)
      Fail(ErrorCode::kNoMemory,
           "{}: cannot map {} in huge pages of {}: {}; does this kernel have pages of that size (ls "
           "/sys/kernel/mm/hugepages)? --hugepages thp needs no pool",
           purpose_, FormatBytes(bytes_), FormatBytes(granule), Message(errno));
  } else if (mapped) {
    mapped = mprotect(data_, bytes_, PROT_READ | PROT_WRITE) == 0;
  }
  if (!mapped)
    Fail(ErrorCode::kNoMemory,
         "{}: cannot map {} bytes for node {}: {}; check ulimit -v and vm.overcommit_memory", purpose_,
         bytes_, extents_.front().node, Message(errno));
}

void Arena::BindExtents() {
  uint8_t* at = data_;
  for (const Extent& extent : extents_) {
    if (extent.node >= 0) {
      const NodeMask mask({extent.node});
      if (mbind(at, extent.bytes, MPOL_BIND, mask.words.data(), mask.max_node(), 0) != 0) {
        const int error = errno;
        if (!RefusalIsHarmless(error, extent.node))
          Fail(error == ENOMEM ? ErrorCode::kNoMemory : ErrorCode::kCommunication,
               "{}: cannot bind {} bytes to node {}: mbind: {}", purpose_, extent.bytes, extent.node,
               Explain(error, extent.node));
      }
    }
    at += extent.bytes;
  }
}

// Takes every page now. A pool is a number of pages on each node; one that runs short is a bus error at first touch.
void Arena::TakeFromPool(HugePages pages) {
  const uint64_t page = Granule(pages);
  std::map<int, uint64_t> wanted;
  for (const Extent& extent : extents_) wanted[extent.node] += extent.bytes / page;
  const auto refuse = [&](int node, uint64_t found) {
    const uint64_t total = ReadNumber("", PoolFile(node, page, "nr_hugepages")).value_or(0);
    Fail(ErrorCode::kNoMemory,
         "{}: node {} has {} free huge pages of {}, but {} are needed there; raise its pool with: echo {} | "
         "sudo tee {} "
         "(or use --hugepages thp, which needs none)",
         purpose_, node, found, FormatBytes(page), wanted[node],
         total + wanted[node] - std::min(found, wanted[node]), PoolFile(node, page, "nr_hugepages"));
  };
  for (const auto& [node, n] : wanted) {
    if (node < 0) continue;
    const uint64_t found = ReadNumber("", PoolFile(node, page, "free_hugepages")).value_or(0);
    if (found < n) refuse(node, found);
  }
  uint8_t* at = data_;
  for (const Extent& extent : extents_) {
    // Since Linux 5.14; before, pages come at first touch and the look above has to do. Another process may be quicker.
    if (madvise(at, extent.bytes, MADV_POPULATE_WRITE) != 0 && errno != EINVAL)
      refuse(extent.node, ReadNumber("", PoolFile(extent.node, page, "free_hugepages")).value_or(0));
    at += extent.bytes;
  }
}

void Arena::Lock() {
  if (mlock2(data_, bytes_, MLOCK_ONFAULT) == 0) return;
  Fail(ErrorCode::kNoMemory,
       "{}: cannot lock {} in memory: {}; raise the limit of this user or service (ulimit -l unlimited, "
       "memlock in "
       "/etc/security/limits.conf, LimitMEMLOCK=infinity in systemd, docker run --ulimit memlock=-1), or "
       "leave out "
       "--mlock",
       purpose_, FormatBytes(bytes_), Message(errno));
}

Arena ArenaSource::Make(std::string purpose, uint64_t bytes) {
  ArenaOptions options = options_;
  if (FromPool(options.pages) && bytes < Granule(options.pages)) options.pages = HugePages::kThp;
  if (options.pages == HugePages::kThp && bytes < kFewBytes) options.pages = HugePages::kOff;
  return Arena(std::move(purpose), homes_.Take(bytes, Granule(options.pages)), options);
}

Arena::~Arena() {
  Release(data_, bytes_);
}

Arena::Arena(Arena&& other) noexcept
    : purpose_(std::move(other.purpose_)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      extents_(std::exchange(other.extents_, {})),
      huge_(other.huge_) {}

Arena& Arena::operator=(Arena&& other) noexcept {
  if (this == &other) return *this;
  Release(data_, bytes_);
  purpose_ = std::move(other.purpose_);
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  extents_ = std::exchange(other.extents_, {});
  huge_ = other.huge_;
  return *this;
}

}  // namespace onecopy::numa
