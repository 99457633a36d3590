// Which positions the tokens of an AttendBlock see. In an anonymous namespace on purpose: ISA folders include it, whose
// copies must not be linked into other code (avx2/README.md).
#pragma once

#include "kernels/kernels.h"

namespace onecopy::kernels {
namespace {

// Token t sees the positions [SeenBegin, SeenEnd), of which there is at least one; both ascend with t.
inline size_t SeenBegin(const AttendBlock& b, size_t t) {
  const size_t end = b.first_position + t + 1;
  return b.window != 0 && end > b.window ? end - b.window : 0;
}
inline size_t SeenEnd(const AttendBlock& b, size_t t) {
  const size_t end = b.first_position + t + 1;
  return b.n_positions != 0 && b.n_positions < end ? b.n_positions : end;
}

// How much of the page that begins with `first` lies before that position.
inline size_t InPage(size_t position, size_t first) {
  return position <= first ? 0 : position - first < kKvPagePositions ? position - first : kKvPagePositions;
}

}  // namespace
}  // namespace onecopy::kernels
