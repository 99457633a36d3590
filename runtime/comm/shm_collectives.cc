// Messages in phases (see shm_sync.h). One phase: all publish, all read everything. Two phases: each rank
// sums its slice of the vector over all ranks, publishes that, and all gather the slices (reduce-scatter,
// all-gather).
#include "runtime/comm/shm_collectives.h"

#include <algorithm>
#include <cstring>

#include "runtime/base/check.h"
#include "runtime/comm/rank_order_sum.h"

namespace onecopy::comm {
namespace {

// One phase reads (ranks - 2) * n bytes more than two; a second phase costs another round of flags. Above
// this many bytes the reading costs more.
constexpr size_t kOnePhaseExtraBytes = 48 << 10;

// The slices start on cache lines of their own: two ranks never write one line.
size_t SliceBegin(size_t n, int rank, int ranks, size_t element_bytes) {
  const size_t per_line = kLineBytes / element_bytes;
  const size_t lines = (n + per_line - 1) / per_line;
  return std::min(n, lines * rank / ranks * per_line);
}

// Columns [begin, begin + width) of x: [n_rows][stride], read as one stream, row after row.
struct ColumnStream {
  float* x;
  size_t stride, begin, width, n_rows;

  size_t size() const { return width * n_rows; }

  // Calls copy(part of a row, its length) for the stream's elements [from, from + n).
  template <typename Copy>
  void ForEachRun(size_t from, size_t n, Copy copy) const {
    while (n > 0) {
      const size_t column = from % width;
      const size_t run = std::min(n, width - column);
      copy(x + from / width * stride + begin + column, run);
      from += run;
      n -= run;
    }
  }
};

}  // namespace

ShmCollectives::ShmCollectives(int rank, std::vector<uint8_t*> regions, const ShmOptions& options)
    : sync_(rank, std::move(regions), options),
      window_bytes_(options.window_bytes),
      barrier_deadline_seconds_(options.barrier_deadline_seconds) {
  ONECOPY_CHECK(window_bytes_ > 0 && window_bytes_ % kLineBytes == 0);
}

void ShmCollectives::Barrier() {
  sync_.BeginCall();
  sync_.Arrive();
  sync_.AwaitAll(barrier_deadline_seconds_);
}

template <typename T>
void ShmCollectives::ReduceSum(std::span<T> x) {
  sync_.BeginCall();
  if (size() == 1) return;
  const size_t window_elements = window_bytes_ / sizeof(T);
  auto* at = reinterpret_cast<uint8_t*>(x.data());
  for (size_t left = x.size(); left > 0;) {
    const size_t n = std::min(left, window_elements);
    const size_t extra_bytes = static_cast<size_t>(size() - 2) * n * sizeof(T);
    extra_bytes <= kOnePhaseExtraBytes ? ReduceInOnePhase<T>(at, n) : ReduceInTwoPhases<T>(at, n);
    at += n * sizeof(T);
    left -= n;
  }
}
template void ShmCollectives::ReduceSum(std::span<float> x);
template void ShmCollectives::ReduceSum(std::span<double> x);

template <typename T>
std::vector<const T*> ShmCollectives::Inputs(size_t offset) const {
  std::vector<const T*> inputs(size());
  for (int r = 0; r < size(); ++r) inputs[r] = reinterpret_cast<const T*>(sync_.Buffer(r)) + offset;
  return inputs;
}

template <typename T>
void ShmCollectives::ReduceInOnePhase(uint8_t* x, size_t n) {
  memcpy(sync_.OpenBuffer(), x, n * sizeof(T));
  sync_.Arrive();
  sync_.AwaitAll();
  SumInRankOrder(x, Inputs<T>(0), n);
}

template <typename T>
void ShmCollectives::ReduceInTwoPhases(uint8_t* x, size_t n) {
  memcpy(sync_.OpenBuffer(), x, n * sizeof(T));
  sync_.Arrive();
  sync_.AwaitAll();
  const auto slice_begin = [&](int r) { return SliceBegin(n, r, size(), sizeof(T)); };
  const size_t begin = slice_begin(rank()), end = slice_begin(rank() + 1);
  const auto terms = Inputs<T>(begin);
  SumInRankOrder(sync_.OpenBuffer() + begin * sizeof(T), terms, end - begin);
  sync_.Arrive();
  sync_.AwaitAll();
  for (int r = 0; r < size(); ++r) {
    const size_t from = slice_begin(r) * sizeof(T), to = slice_begin(r + 1) * sizeof(T);
    memcpy(x + from, sync_.Buffer(r) + from, to - from);
  }
}

void ShmCollectives::AllGatherColumns(float* x, size_t n_rows, std::span<const uint32_t> bounds) {
  sync_.BeginCall();
  ONECOPY_CHECK(bounds.size() == static_cast<size_t>(size()) + 1 && bounds[0] == 0);
  ONECOPY_CHECK(std::is_sorted(bounds.begin(), bounds.end()));
  if (size() == 1) return;
  const size_t window_floats = window_bytes_ / sizeof(float);
  const auto stream_of = [&](int r) {
    return ColumnStream{x, bounds.back(), bounds[r], size_t{bounds[r + 1]} - bounds[r], n_rows};
  };
  size_t longest = 0;
  for (int r = 0; r < size(); ++r) longest = std::max(longest, stream_of(r).size());
  const ColumnStream mine = stream_of(rank());

  for (size_t from = 0; from < longest; from += window_floats) {
    const auto piece = [&](const ColumnStream& s) {
      return std::min(window_floats, s.size() - std::min(s.size(), from));
    };
    uint8_t* out = sync_.OpenBuffer();
    mine.ForEachRun(from, piece(mine), [&](const float* part, size_t n) {
      memcpy(out, part, n * sizeof(float));
      out += n * sizeof(float);
    });
    sync_.Arrive();
    sync_.AwaitAll();
    for (int r = 0; r < size(); ++r) {
      if (r == rank()) continue;
      const ColumnStream theirs = stream_of(r);
      const uint8_t* in = sync_.Buffer(r);
      theirs.ForEachRun(from, piece(theirs), [&](float* part, size_t n) {
        memcpy(part, in, n * sizeof(float));
        in += n * sizeof(float);
      });
    }
  }
}

// The receivers enter the phase at once and wait for root alone; root goes on without waiting for them. Root
// learns that they have come when it next opens a buffer.
void ShmCollectives::BroadcastInto(void* data, size_t n, int root) {
  if (size() == 1) return;
  auto* at = static_cast<uint8_t*>(data);
  for (size_t from = 0; from < n; from += window_bytes_) {
    const size_t piece = std::min(window_bytes_, n - from);
    if (rank() == root) {
      memcpy(sync_.OpenBuffer(), at + from, piece);
      sync_.Arrive();
    } else {
      sync_.Arrive();
      sync_.AwaitRank(root);
      memcpy(at + from, sync_.Buffer(root), piece);
    }
  }
}

void ShmCollectives::Broadcast(std::vector<uint8_t>* bytes, int root) {
  sync_.BeginCall();
  if (size() == 1) return;
  // The first piece brings the length along, so a short message takes one phase.
  uint64_t n = bytes->size();
  size_t first;
  if (rank() == root) {
    uint8_t* out = sync_.OpenBuffer();
    memcpy(out, &n, sizeof(n));
    first = std::min<size_t>(n, window_bytes_);
    if (first > 0) memcpy(out + kPrefixBytes, bytes->data(), first);
    sync_.Arrive();
  } else {
    sync_.Arrive();
    sync_.AwaitRank(root);
    memcpy(&n, sync_.Buffer(root), sizeof(n));
    first = std::min<size_t>(n, window_bytes_);
    bytes->resize(n);
    if (first > 0) memcpy(bytes->data(), sync_.Buffer(root) + kPrefixBytes, first);
  }
  BroadcastInto(bytes->data() + first, n - first, root);
}

std::vector<std::vector<uint8_t>> ShmCollectives::AllGatherBytes(const std::vector<uint8_t>& bytes) {
  sync_.BeginCall();
  std::vector<std::vector<uint8_t>> all(size());
  uint64_t longest = bytes.size();
  for (size_t from = 0; from == 0 || from < longest; from += window_bytes_) {
    const auto piece = [&](size_t n) { return std::min(window_bytes_, n - std::min(n, from)); };
    const uint64_t n = bytes.size();
    uint8_t* out = sync_.OpenBuffer();
    memcpy(out, &n, sizeof(n));
    if (piece(n) > 0) memcpy(out + kPrefixBytes, bytes.data() + from, piece(n));
    sync_.Arrive();
    sync_.AwaitAll();
    for (int r = 0; r < size(); ++r) {
      uint64_t size_of_r;
      memcpy(&size_of_r, sync_.Buffer(r), sizeof(size_of_r));
      longest = std::max(longest, size_of_r);
      all[r].resize(size_of_r);
      if (piece(size_of_r) > 0)
        memcpy(all[r].data() + from, sync_.Buffer(r) + kPrefixBytes, piece(size_of_r));
    }
  }
  return all;
}

}  // namespace onecopy::comm
