// Messages in phases (see shm_sync.h): what is published is read in the same phase, or flows on (shm_flow.h).
#include "runtime/comm/shm_collectives.h"

#include <algorithm>
#include <cstring>

#include "runtime/base/check.h"
#include "runtime/comm/shm_flow.h"

namespace onecopy::comm {
namespace {

// A rank's columns of x, read as one stream, row after row.
class ColumnStream {
 public:
  ColumnStream(float* x, size_t stride, size_t width, size_t n_rows)
      : x_(x), stride_(stride), width_(width), size_(width * n_rows) {}

  size_t size() const { return size_; }
  // How much there is of [from, from + n).
  size_t Length(size_t from, size_t n) const { return std::min(n, size_ - std::min(size_, from)); }
  // Copies that out of x, or into it.
  void Read(size_t from, size_t n, uint8_t* to) const {
    ForEachRun(from, Length(from, n), [&](const float* part, size_t run) {
      memcpy(to, part, run * sizeof(float));
      to += run * sizeof(float);
    });
  }
  void Write(size_t from, size_t n, const uint8_t* in) const {
    ForEachRun(from, Length(from, n), [&](float* part, size_t run) {
      memcpy(part, in, run * sizeof(float));
      in += run * sizeof(float);
    });
  }

 private:
  template <typename Copy>
  void ForEachRun(size_t from, size_t n, Copy copy) const {
    while (n > 0) {
      const size_t column = from % width_;
      const size_t run = std::min(n, width_ - column);
      copy(x_ + from / width_ * stride_ + column, run);
      from += run;
      n -= run;
    }
  }

  float* x_;
  size_t stride_, width_, size_;
};

// Of all ranks that share x.
class ColumnStreams {
 public:
  ColumnStreams(float* x, size_t n_rows, std::span<const uint32_t> bounds)
      : x_(x), n_rows_(n_rows), bounds_(bounds) {}

  ColumnStream of(int rank) const {
    return {x_ + bounds_[rank], bounds_.back(), size_t{bounds_[rank + 1]} - bounds_[rank], n_rows_};
  }
  size_t longest() const {
    size_t n = 0;
    for (int r = 0; r + 1 < static_cast<int>(bounds_.size()); ++r) n = std::max(n, of(r).size());
    return n;
  }

 private:
  float* x_;
  size_t n_rows_;
  std::span<const uint32_t> bounds_;
};

}  // namespace

ShmCollectives::ShmCollectives(int rank, std::vector<uint8_t*> regions, const ShmOptions& options,
                               CommOptions::Wire wire)
    : sync_(rank, std::move(regions), options),
      all_reduce_(&sync_, options.window_bytes),
      window_bytes_(options.window_bytes),
      barrier_deadline_seconds_(options.barrier_deadline_seconds),
      wire_(wire) {
  ONECOPY_CHECK(window_bytes_ > 0 && window_bytes_ % kLineBytes == 0);
}

void ShmCollectives::JoinHosts(const HostMap& hosts, LeaderLink* link) {
  hosts_ = hosts;
  link_ = link;
  all_reduce_.JoinHosts(static_cast<int>(hosts.ranks.size()), link);
}

void ShmCollectives::Barrier() {
  sync_.BeginCall();
  sync_.Arrive();
  sync_.AwaitAll(barrier_deadline_seconds_);
}

void ShmCollectives::AllGatherColumns(float* x, size_t n_rows, std::span<const uint32_t> bounds,
                                      bool wanted) {
  sync_.BeginCall();
  ONECOPY_CHECK(bounds.size() >= 2 && bounds[0] == 0 && std::is_sorted(bounds.begin(), bounds.end()));
  if (hosts_.ranks.size() > 1) return GatherOverHosts(x, n_rows, bounds);
  ONECOPY_CHECK(bounds.size() == static_cast<size_t>(size()) + 1);
  if (size() == 1) return;
  const ColumnStreams streams(x, n_rows, bounds);
  const size_t per_piece = window_bytes_ / sizeof(float);
  const size_t n_pieces = (streams.longest() + per_piece - 1) / per_piece;
  if (n_pieces == 1 && !wanted) {
    streams.of(rank()).Read(0, per_piece, sync_.OpenBuffer());
    return sync_.Publish();
  }
  const auto take_from = [&](int r, size_t piece, uint32_t message) {
    streams.of(r).Write(piece * per_piece, per_piece, sync_.Buffer(r, message));
  };
  Flow(
      &sync_, n_pieces, 0, 0,
      [&](size_t piece, uint8_t* to) { streams.of(rank()).Read(piece * per_piece, per_piece, to); },
      [](size_t, size_t, uint32_t) {},
      [&](size_t piece, uint32_t message) {
        for (int r = 0; wanted && r < size(); ++r)
          if (r != rank()) take_from(r, piece, message);
      });
}

// A piece is as much of every rank's columns as fits the buffer of the leader, host after host. Each rank writes its
// part to its place there in its own buffer; the leader puts those of its host together, the leaders exchange, and all
// read the leader's buffer.
void ShmCollectives::GatherOverHosts(float* x, size_t n_rows, std::span<const uint32_t> bounds) {
  const ColumnStreams streams(x, n_rows, bounds);
  const size_t n_ranks = bounds.size() - 1;
  const size_t per_piece = window_bytes_ / sizeof(float) / n_ranks;
  ONECOPY_CHECK(per_piece > 0);
  // body(rank, its host, its place in floats, its length) for every rank.
  const auto for_each_part = [&](size_t piece, auto body) {
    size_t at = 0;
    for (size_t h = 0; h < hosts_.ranks.size(); ++h) {
      for (const int r : hosts_.ranks[h]) {
        const size_t n = streams.of(r).Length(piece * per_piece, per_piece);
        body(r, h, at, n);
        at += n;
      }
    }
  };
  const std::vector<int>& here = hosts_.ranks[hosts_.mine];
  const int me = here[rank()];
  Flow(
      &sync_, (streams.longest() + per_piece - 1) / per_piece, LeaderLink::kGatherSteps, 0,
      [&](size_t piece, uint8_t* to) {
        for_each_part(piece, [&](int r, size_t, size_t at, size_t) {
          if (r == me) streams.of(r).Read(piece * per_piece, per_piece, to + at * sizeof(float));
        });
      },
      [&](size_t step, size_t piece, uint32_t message) {
        if (link_ == nullptr) return;
        uint8_t* all = sync_.Buffer(0, message);
        std::vector<int> bytes(hosts_.ranks.size());
        int index = 0;  // on this host
        for_each_part(piece, [&](int, size_t host, size_t at, size_t n) {
          bytes[host] += static_cast<int>(n * sizeof(float));
          if (static_cast<int>(host) != hosts_.mine) return;
          if (step == 0 && index > 0 && n > 0)
            memcpy(all + at * sizeof(float), sync_.Buffer(index, message) + at * sizeof(float),
                   n * sizeof(float));
          ++index;
        });
        link_->GatherStep(step, all, bytes);
      },
      [&](size_t piece, uint32_t message) {
        for_each_part(piece, [&](int r, size_t, size_t at, size_t) {
          if (r != me)
            streams.of(r).Write(piece * per_piece, per_piece, sync_.Buffer(0, message) + at * sizeof(float));
        });
      });
}

// The receivers enter the phase at once and wait for root alone; root goes on without waiting for them. Root
// learns that they have come when the ring of buffers has gone round.
void ShmCollectives::BroadcastInto(void* data, size_t n, int root) {
  if (size() == 1) return;
  auto* at = static_cast<uint8_t*>(data);
  for (size_t from = 0; from < n; from += window_bytes_) {
    const size_t piece = std::min(window_bytes_, n - from);
    if (rank() == root) {
      memcpy(sync_.OpenBuffer(), at + from, piece);
      sync_.Publish();
    } else {
      sync_.Publish();
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
    sync_.Publish();
  } else {
    sync_.Publish();
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
    sync_.Publish();
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
