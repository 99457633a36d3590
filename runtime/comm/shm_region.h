// What each rank keeps in memory that all ranks of its host share: a header (who it is, how far it has come,
// why it failed) and a ring of message buffers. Lies in the owner's part of the window, so on the owner's node.
// Every field that changes after InitRegion is atomic; each has one writer, the owner, except where stated.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/comm/liveness.h"
#include "runtime/comm/wait.h"

namespace onecopy::comm {

// A short text that one process writes while others may read it. A reader may see a mix of two texts, never a
// fault.
template <size_t kBytes>
class SharedText {
 public:
  void Store(std::string_view text) {
    std::array<char, kBytes> chars = {};
    memcpy(chars.data(), text.data(), std::min(text.size(), kBytes - 1));
    for (size_t i = 0; i < words_.size(); ++i) {
      uint64_t word;
      memcpy(&word, chars.data() + i * 8, 8);
      words_[i].store(word, std::memory_order_relaxed);
      // The rest is never read: Load stops at the first zero byte.
      if (i * 8 > text.size()) break;
    }
  }
  std::string Load() const {
    std::array<char, kBytes> chars;
    for (size_t i = 0; i < words_.size(); ++i) {
      const uint64_t word = words_[i].load(std::memory_order_relaxed);
      memcpy(chars.data() + i * 8, &word, 8);
    }
    chars.back() = '\0';
    return chars.data();
  }

 private:
  static_assert(kBytes % 8 == 0);
  std::array<std::atomic<uint64_t>, kBytes / 8> words_ = {};
};

enum class RankState : uint32_t { kPresent = 0, kLeft = 1, kFailed = 2 };

struct alignas(kLineBytes) RankHeader {
  // The phase this rank has entered. Others raise `sleepers`.
  SleepWord arrived;
  // In use in rank 0's header only. gate.value goes up whenever the last rank enters a phase; `first_failed`
  // is the failing rank + 1. Any rank writes them; both are read-mostly.
  SleepWord gate;
  alignas(kLineBytes) SharedWord first_failed{0};

  alignas(kLineBytes) std::atomic<RankState> state{RankState::kPresent};
  std::atomic<int32_t> culprit{-1};      // valid once state is kFailed, like failure
  std::atomic<int64_t> last_call_ns{0};  // NowNs() at the start of the last operation
  SharedText<64> stage;
  SharedText<768> failure;

  // Constant once every rank has attached.
  int32_t world_rank = 0;
  int32_t socket = -1;  // -1: not known
  ProcessIdentity process;
  char host[64] = {};
  uint8_t cpus[1024] = {};  // bit mask of the CPUs the owner may run on
};

constexpr size_t kHeaderBytes = 4096;
static_assert(sizeof(RankHeader) <= kHeaderBytes);
// Before the payload of a message whose size the receivers do not know.
constexpr size_t kPrefixBytes = kLineBytes;

// Messages take the buffers in turn. Two would do where a rank reads a message before it writes the next; the others let
// the pieces of a long message flow through up to five stages (shm_flow.h).
constexpr uint32_t kBuffers = 8;
static_assert(kBuffers > 0 && (kBuffers & (kBuffers - 1)) == 0, "message numbers wrap around");

// A region: header, then the buffers, each of `BufferBytes(window_bytes)`, all page-aligned.
constexpr size_t BufferBytes(size_t window_bytes) {
  return (kPrefixBytes + window_bytes + 4095) / 4096 * 4096;
}
constexpr size_t RegionBytes(size_t window_bytes) {
  return kHeaderBytes + kBuffers * BufferBytes(window_bytes);
}

// Writes the header of a region of zeros, by the owner, before any other rank reads it. The buffers are left alone: others
// read of them only what the owner wrote, so each page comes to lie on the owner's node when the first message gets so
// far, and a small model's ranks do without the rest, two megabytes each.
void InitRegion(uint8_t* region, int world_rank, int socket = -1);

inline RankHeader* Header(uint8_t* region) {
  return std::launder(reinterpret_cast<RankHeader*>(region));
}

// CPUs in the union of the masks of all regions; of the machine where the masks are unknown.
int CountCpus(const std::vector<uint8_t*>& regions);

std::string HostName();

}  // namespace onecopy::comm
