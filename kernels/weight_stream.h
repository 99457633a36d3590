// Packed weights as a kernel reads them, from front to back, and what it asks memory for meanwhile. Where the rows of this
// product end, what follows in memory is another thread's, so there a stream goes on with the beginning of what its thread
// multiplies next, or with nothing. In an anonymous namespace, since each folder compiles it for another instruction set.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/pack.h"

namespace onecopy::kernels {
namespace {

// Lines come from memory to the second-level cache kFarBytes before they are wanted, and to the first level kNearBytes before. From
// memory to the first level at once, 2048 ahead, as many are on their way as that level waits for, 24 on Zen 4, where Q4_K times
// two, three and four tokens reads 22.7, 16.9 and 15.0 GB/s a thread so, and 26.1, 23.8 and 19.7 by two steps (sums in float; in
// double 4 to 8 % more; times one token as fast or up to 10 % slower). Without any, one stream reaches 9 of the 17 GB/s that a
// thread can read (Sapphire Rapids).
constexpr ptrdiff_t kFarBytes = 6144, kNearBytes = 1024;

// How many bytes behind the place where a kernel is at work what is to be fetched stands; 0: nothing is.
struct Ahead {
  ptrdiff_t near = 0, far = 0;
};

class WeightStream {
 public:
  // What ends at `end`, and what is read after it, or null.
  WeightStream(const uint8_t* end, const uint8_t* next)
      : end_(reinterpret_cast<uintptr_t>(end)),
        gap_(next == nullptr ? 0 : static_cast<ptrdiff_t>(reinterpret_cast<uintptr_t>(next) - end_)),
        has_next_(next != nullptr) {}

  // The place `distance` bytes of the stream behind p, from p; 0 where the stream has ended before it.
  ptrdiff_t At(const uint8_t* p, ptrdiff_t distance) const {
    if (reinterpret_cast<uintptr_t>(p) + static_cast<uintptr_t>(distance) < end_) return distance;
    return has_next_ ? distance + gap_ : 0;
  }
  Ahead From(const uint8_t* p) const { return {At(p, kNearBytes), At(p, kFarBytes)}; }

 private:
  uintptr_t end_;
  ptrdiff_t gap_;  // from the end to what is next
  bool has_next_;
};

// Of what is multiplied after w: its first tile, or the first of the second half of its tiles; null where that is not known.
inline const uint8_t* NextTile(const PackedMatrix& w, bool second_half) {
  if (w.next == nullptr) return nullptr;
  const size_t tiles = (w.next->rows + w.next->row_tile - 1) / w.next->row_tile;
  return w.next->data + (second_half ? tiles / 2 * TileBytes(*w.next) : 0);
}

}  // namespace
}  // namespace onecopy::kernels
