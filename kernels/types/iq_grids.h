// The codebooks of the IQ types: an index of the file stands for eight values (IQ1, IQ2) or four (IQ3), of which each is one
// of few. Format data of ggml (ggml-common.h). Read by ISA folders too, which call nothing of it. Re-entrant.
#pragma once

#include <cstddef>
#include <cstdint>

namespace onecopy::kernels {

// Byte i of an entry (from the lowest): value i.
template <class Entry, size_t kEntries>
struct Grid {
  Entry entries[kEntries];
};

extern const Grid<uint64_t, 256> kGridIQ2XXS;  // 8, 25, 43
extern const Grid<uint64_t, 512> kGridIQ2XS;
extern const Grid<uint64_t, 1024> kGridIQ2S;
extern const Grid<uint64_t, 2048> kGridIQ1;    // 0, 8, 16 for -1, 0, 1
extern const Grid<uint32_t, 256> kGridIQ3XXS;  // 4, 12, 20, 28, 36, 44, 52, 62
extern const Grid<uint32_t, 512> kGridIQ3S;    // 1, 3, 5, … 15

}  // namespace onecopy::kernels
