// Arena by mmap(2), mbind(2) and madvise(2). The mapping is 2 MiB aligned, so that huge pages fit from its
// first byte, and has an inaccessible page on either side: a kernel that runs past a shard faults instead of
// reading another arena, and the mapping never merges with a neighbour, whose huge pages /proc/self/smaps
// would then count as ours.
#include "runtime/numa/arena.h"

#include <numaif.h>
#include <sys/mman.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/error.h"
#include "runtime/numa/policy.h"

namespace onecopy::numa {
namespace {

constexpr uint64_t kHugePage = uint64_t{2} << 20;
constexpr uint64_t kGuard = 4096;

// `bytes` of inaccessible memory at a multiple of 2 MiB, a guard on either side; nullptr with errno on
// failure.
uint8_t* Reserve(uint64_t bytes) {
  const uint64_t span = bytes + 2 * kHugePage;
  void* mapped = mmap(nullptr, span, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* base = static_cast<uint8_t*>(mapped);
  const uint64_t at = RoundUp(reinterpret_cast<uint64_t>(base) + kGuard, kHugePage);
  uint8_t* data = base + (at - reinterpret_cast<uint64_t>(base));
  uint8_t* end = data + bytes + kGuard;
  if (data - kGuard > base) munmap(base, static_cast<size_t>(data - kGuard - base));
  munmap(end, static_cast<size_t>(base + span - end));
  return data;
}

void Release(uint8_t* data, uint64_t bytes) {
  if (data != nullptr) munmap(data - kGuard, bytes + 2 * kGuard);
}

}  // namespace

Arena::Arena(std::string purpose, uint64_t bytes, int node)
    : purpose_(std::move(purpose)), bytes_(bytes), node_(node) {
  if (bytes == 0) return;
  // RoundUp must not wrap: no machine has 2^62 bytes.
  const bool sane = bytes < uint64_t{1} << 62;
  if (sane) bytes_ = RoundUp(bytes, kHugePage);
  errno = ENOMEM;
  data_ = sane ? Reserve(bytes_) : nullptr;
  if (data_ == nullptr || mprotect(data_, bytes_, PROT_READ | PROT_WRITE) != 0) {
    const int error = errno;
    Release(std::exchange(data_, nullptr), bytes_);
    Fail(ErrorCode::kNoMemory,
         "{}: cannot map {} bytes for node {}: {}; check ulimit -v and vm.overcommit_memory", purpose_, bytes,
         node, std::generic_category().message(error));
  }
  if (node >= 0) {
    const NodeMask mask(node);
    if (mbind(data_, bytes_, MPOL_BIND, mask.words.data(), mask.max_node(), 0) != 0) {
      const int error = errno;
      if (!RefusalIsHarmless(error, node)) {
        Release(std::exchange(data_, nullptr), bytes_);
        Fail(ErrorCode::kCommunication, "{}: cannot bind {} bytes to node {}: mbind: {}", purpose_, bytes,
             node, Explain(error, node));
      }
    }
  }
  // A hint: where the kernel has no huge pages it is refused, the residency report shows 0 huge bytes and
  // doctor says what to switch on.
  madvise(data_, bytes_, MADV_HUGEPAGE);
}

Arena::~Arena() {
  Release(data_, bytes_);
}

Arena::Arena(Arena&& other) noexcept
    : purpose_(std::move(other.purpose_)),
      data_(std::exchange(other.data_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)),
      node_(std::exchange(other.node_, -1)) {}

Arena& Arena::operator=(Arena&& other) noexcept {
  if (this == &other) return *this;
  Release(data_, bytes_);
  purpose_ = std::move(other.purpose_);
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  node_ = std::exchange(other.node_, -1);
  return *this;
}

}  // namespace onecopy::numa
