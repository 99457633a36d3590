// One piece of an all-reduce as it lies in the buffers of the ranks of a host: terms, the slices into which ranks share
// them, and the sums. A view: owns nothing, computes in the calling thread; several threads may work on ranges that do
// not overlap.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <type_traits>

#include "runtime/base/check.h"
#include "runtime/comm/rank_order_sum.h"
#include "runtime/comm/shm_sync.h"

namespace onecopy::comm {

inline constexpr int kMaxRanksOnHost = 256;

// Ranks [first, first + count).
struct RankGroup {
  int first = 0, count = 0;
  int end() const { return first + count; }
};

// How a message lies in a buffer: terms at its start; sums over them where they are of one type, else behind them.
template <typename Term, typename Sum>
struct PieceFormat {
  static constexpr bool kInPlace = std::is_same_v<Term, Sum>;
  static size_t SumsOffset(size_t n) {
    return kInPlace ? 0 : (n * sizeof(Term) + kLineBytes - 1) / kLineBytes * kLineBytes;
  }
  static size_t MaxElements(size_t window_bytes) {
    if (kInPlace) return window_bytes / sizeof(Term);
    return (window_bytes - kLineBytes) / (sizeof(Term) + sizeof(Sum));
  }
};

template <typename Term, typename Sum>
class AllReducePiece {
 public:
  using Format = PieceFormat<Term, Sum>;

  AllReducePiece(const ShmSync& sync, uint32_t message, size_t n) : sync_(sync), message_(message), n_(n) {}

  size_t size() const { return n_; }
  Sum* SumsOf(int rank) const {
    return reinterpret_cast<Sum*>(sync_.Buffer(rank, message_) + Format::SumsOffset(n_));
  }
  // Slice of `rank`, which is in `group`, where the group's ranks share the piece. Slices start on lines of their own:
  // two ranks never write one line.
  size_t SliceBegin(RankGroup group, int rank) const {
    constexpr size_t kPerLine = kLineBytes / sizeof(Sum);
    const size_t lines = (n_ + kPerLine - 1) / kPerLine;
    const auto index = static_cast<size_t>(rank - group.first);
    return std::min(n_, lines * index / static_cast<size_t>(group.count) * kPerLine);
  }
  size_t SliceEnd(RankGroup group, int rank) const { return SliceBegin(group, rank + 1); }

  // Sums [begin, end) of the terms of the group's ranks to `to`. own: where not null, this rank's terms as they lie
  // outside the buffer; `to` may be the same place.
  void AddUp(RankGroup group, size_t begin, size_t end, Sum* to, const Term* own = nullptr) const {
    Terms terms;
    terms.Add(*this, group, own);
    SumInRankOrder(to, terms.list(), begin, end - begin);
  }
  // The same, onto the sums in the slices of `before`.
  void AddOnto(RankGroup before, RankGroup group, size_t begin, size_t end, Sum* to) const {
    static_assert(Format::kInPlace, "a sum is a term of the next");
    ForEachOwner(before, begin, end, [&](int owner, size_t from, size_t until) {
      Terms terms;
      terms.Add(SumsOf(owner));
      terms.Add(*this, group);
      SumInRankOrder(to + (from - begin), terms.list(), from, until - from);
    });
  }
  // Copies the sums [begin, end) from the slices of `holders` to `to`, but not what lies there already.
  void Read(RankGroup holders, size_t begin, size_t end, Sum* to) const {
    ForEachOwner(holders, begin, end, [&](int owner, size_t from, size_t until) {
      const Sum* at = SumsOf(owner) + from;
      if (at != to + (from - begin)) memcpy(to + (from - begin), at, (until - from) * sizeof(Sum));
    });
  }
  // The sums [begin, end) where one slice of `holders` has them all; else null.
  const Sum* Find(RankGroup holders, size_t begin, size_t end) const {
    const int owner = OwnerOf(holders, begin);
    return end <= SliceEnd(holders, owner) ? SumsOf(owner) + begin : nullptr;
  }

 private:
  class Terms {
   public:
    void Add(const Term* terms) { at_[n_++] = terms; }
    void Add(const AllReducePiece& piece, RankGroup group, const Term* own = nullptr) {
      for (int r = group.first; r < group.end(); ++r) {
        const bool elsewhere = own != nullptr && r == piece.sync_.rank();
        Add(elsewhere ? own : reinterpret_cast<const Term*>(piece.sync_.Buffer(r, piece.message_)));
      }
    }
    std::span<const Term* const> list() const { return {at_.data(), n_}; }

   private:
    std::array<const Term*, kMaxRanksOnHost + 1> at_;  // only the first n_ are set: this is the hot path
    size_t n_ = 0;
  };

  int OwnerOf(RankGroup group, size_t element) const {
    int owner = group.first;
    while (SliceEnd(group, owner) <= element) ++owner;
    return owner;
  }
  // body(owner, from, until) for the parts of [begin, end) that the group's ranks hold.
  template <typename Body>
  void ForEachOwner(RankGroup group, size_t begin, size_t end, Body body) const {
    if (begin == end) return;
    for (int owner = OwnerOf(group, begin); begin < end; ++owner) {
      const size_t until = std::min(end, SliceEnd(group, owner));
      if (begin < until) body(owner, begin, until);
      begin = std::max(begin, until);
    }
  }

  const ShmSync& sync_;
  const uint32_t message_;
  const size_t n_;
};

}  // namespace onecopy::comm
