#include "runtime/comm/shm_all_reduce.h"

#include <algorithm>
#include <cstring>

#include "runtime/base/check.h"
#include "runtime/comm/rank_order_sum.h"
#include "runtime/comm/shm_flow.h"

namespace onecopy::comm {
namespace {

// Starting a team of threads costs a few us, in which one thread copies this much.
constexpr size_t kShareBytes = 64 << 10;
// Parts of shared work: nobody says how many threads there are.
constexpr size_t kMaxParts = 64;

std::vector<RankGroup> FindSockets(const ShmSync& sync) {
  std::vector<RankGroup> groups;
  std::vector<int> seen;
  const RankGroup all = {0, sync.size()};
  for (int r = 0; r < sync.size(); ++r) {
    const int socket = sync.socket(r);
    if (socket < 0) return {all};
    if (!seen.empty() && seen.back() == socket) {
      ++groups.back().count;
      continue;
    }
    // A sum in rank order cannot go through a socket twice.
    if (std::find(seen.begin(), seen.end(), socket) != seen.end()) return {all};
    seen.push_back(socket);
    groups.push_back({r, 1});
  }
  if (groups.size() > kMaxSockets) return {all};
  return groups;
}

}  // namespace

ShmAllReduce::ShmAllReduce(ShmSync* sync, size_t window_bytes)
    : sync_(*sync), window_bytes_(window_bytes), sockets_(FindSockets(*sync)) {
  if (sync_.size() > kMaxRanksOnHost)
    Fail(ErrorCode::kUsage, "{} ranks on one host; onecopy takes up to {}", sync_.size(), kMaxRanksOnHost);
  while (MySocket().end() <= sync_.rank()) ++my_socket_;
}

void ShmAllReduce::JoinHosts(int n_hosts, LeaderLink* link) {
  n_hosts_ = n_hosts;
  link_ = link;
}

template <typename Body>
void ShmAllReduce::Share(size_t n, size_t bytes, Body body) const {
  const size_t parts = std::min(bytes / kShareBytes + 1, kMaxParts);
  if (!team_ || parts == 1) return body(size_t{0}, n);
  // Bounds at lines, for elements of any size.
  const auto bound = [&](size_t i) { return i == parts ? n : n * i / parts / kLineBytes * kLineBytes; };
  team_(parts, [&](size_t i) {
    if (bound(i) < bound(i + 1)) body(bound(i), bound(i + 1));
  });
}

template <typename Body>
void ShmAllReduce::ForRows(size_t n_rows, size_t row_bytes, Body body) const {
  if (!team_ || n_rows == 1 || n_rows * row_bytes < kShareBytes) {
    for (size_t row = 0; row < n_rows; ++row) body(row);
    return;
  }
  team_(n_rows, body);
}

ShmAllReduce::Route ShmAllReduce::ChooseRoute(size_t bytes, size_t n_pieces, bool may_go_by_socket) const {
  const int sockets = may_go_by_socket && n_hosts_ == 1 ? static_cast<int>(sockets_.size()) : 1;
  const Algorithm algorithm = table_.Choose(bytes, sync_.size(), sockets);
  if (n_hosts_ > 1) {
    // Small: the leader sums all alone. Else: the ranks sum slices, then the leaders exchange.
    Route route = {Route::Kind::kHosts};
    route.first_host_stage = algorithm == Algorithm::kOnePhase && n_pieces == 1 ? 0 : 1;
    route.hosts_at_once = n_pieces == 1;
    route.n_stages = route.first_host_stage + (n_pieces == 1 ? 1 : LeaderLink::SumSteps(n_hosts_));
    return route;
  }
  switch (algorithm) {
    case Algorithm::kOnePhase:
      return {Route::Kind::kOnePhase, 0};
    case Algorithm::kTwoPhases:
      return {Route::Kind::kTwoPhases, 1};
    case Algorithm::kBySocket:
      return {Route::Kind::kBySocket, sockets_.size() + 1};
  }
  ONECOPY_CHECK(false);
}

template <typename Term, typename Sum>
void ShmAllReduce::SumSlice(const AllReducePiece<Term, Sum>& piece, RankGroup group,
                            const RankGroup* before) {
  const size_t begin = piece.SliceBegin(group, sync_.rank()), end = piece.SliceEnd(group, sync_.rank());
  Sum* to = piece.SumsOf(sync_.rank()) + begin;
  const size_t bytes = (end - begin) * sizeof(Term) * static_cast<size_t>(group.count);
  Share(end - begin, bytes, [&](size_t from, size_t until) {
    if constexpr (PieceFormat<Term, Sum>::kInPlace) {
      if (before != nullptr) return piece.AddOnto(*before, group, begin + from, begin + until, to + from);
    }
    piece.AddUp(group, begin + from, begin + until, to + from);
  });
}

template <typename Term, typename Sum>
void ShmAllReduce::Stage(const Route& route, size_t stage, const AllReducePiece<Term, Sum>& piece) {
  if (route.kind == Route::Kind::kHosts) return StageOfHosts(route, stage, piece);
  if (route.kind == Route::Kind::kTwoPhases) return SumSlice(piece, All(), nullptr);
  // In turn each socket adds its terms to the sums of those before; then those before the last fetch the sums.
  const RankGroup mine = MySocket();
  if (stage == my_socket_) SumSlice(piece, mine, stage == 0 ? nullptr : &sockets_[stage - 1]);
  if (stage < sockets_.size() || my_socket_ + 1 == sockets_.size()) return;
  const size_t begin = piece.SliceBegin(mine, sync_.rank());
  piece.Read(sockets_.back(), begin, piece.SliceEnd(mine, sync_.rank()), piece.SumsOf(sync_.rank()) + begin);
}

template <typename Term, typename Sum>
void ShmAllReduce::StageOfHosts(const Route& route, size_t stage, const AllReducePiece<Term, Sum>& piece) {
  if (stage < route.first_host_stage) return SumSlice(piece, All(), nullptr);
  if (link_ == nullptr) return;
  Sum* sums = piece.SumsOf(0);
  const size_t steps = LeaderLink::SumSteps(n_hosts_);
  const size_t first_step = stage - route.first_host_stage;
  if (first_step == 0) {
    if (route.first_host_stage == 0)
      piece.AddUp(All(), 0, piece.size(), sums);
    else
      piece.Read(All(), 0, piece.size(), sums);
  }
  for (size_t step = first_step; step < (route.hosts_at_once ? steps : first_step + 1); ++step)
    link_->SumStep(step, sums, piece.size());
}

template <typename Term, typename Sum>
const Sum* ShmAllReduce::Find(const Route& route, const AllReducePiece<Term, Sum>& piece, size_t begin,
                              size_t end) const {
  switch (route.kind) {
    case Route::Kind::kOnePhase:
      return nullptr;
    case Route::Kind::kTwoPhases:
      return piece.Find(All(), begin, end);
    case Route::Kind::kBySocket:
      return piece.Find(MySocket(), begin, end);
    case Route::Kind::kHosts:
      return piece.SumsOf(0) + begin;
  }
  ONECOPY_CHECK(false);
}

// The reads come ahead of the adding by the prefetcher into L2; that leaves room for the requests by which this core takes
// the next buffer's lines from its readers. 8 KiB between two ranks: 1.7 us against 2.1.
//
// This rank's own terms come from where they are, so that the lines of its buffer, which the others read, need not come
// back to L1: 28 KiB between two ranks take 2.9 us against 4.1.
template <typename Term, typename Sum>
void ShmAllReduce::AddUpAndClaim(const AllReducePiece<Term, Sum>& piece, size_t begin, size_t end, Sum* to,
                                 const Term* own) const {
  // Several blocks of SumInRankOrder.
  constexpr size_t kChunk = 1024 / sizeof(Sum);
  if (!PieceFormat<Term, Sum>::kInPlace || piece.size() * sizeof(Sum) > ShmSync::kMostClaimedBytes)
    return piece.AddUp(All(), begin, end, to, own);
  for (size_t at = begin; at < end; at += kChunk) {
    const size_t n = std::min(kChunk, end - at);
    sync_.ClaimNextBuffer(at * sizeof(Sum), n * sizeof(Sum));
    piece.AddUp(All(), at, at + n, to + (at - begin), own);
  }
}

template <typename Term, typename Sum>
void ShmAllReduce::Get(const Route& route, const AllReducePiece<Term, Sum>& piece, size_t begin, size_t end,
                       Sum* to, const Term* own) const {
  switch (route.kind) {
    case Route::Kind::kOnePhase:
      return AddUpAndClaim(piece, begin, end, to, own);
    case Route::Kind::kTwoPhases:
      return piece.Read(All(), begin, end, to);
    case Route::Kind::kBySocket:
      return piece.Read(MySocket(), begin, end, to);
    case Route::Kind::kHosts:
      memcpy(to, piece.SumsOf(0) + begin, (end - begin) * sizeof(Sum));
  }
}

template <typename Term, typename Sum, typename Put, typename Take>
void ShmAllReduce::Run(size_t n, size_t per_piece, size_t bytes, Put put, Take take) {
  sync_.BeginCall();
  const size_t n_pieces = (n + per_piece - 1) / per_piece;
  const Route route = ChooseRoute(bytes, n_pieces, PieceFormat<Term, Sum>::kInPlace);
  const auto size_of = [&](size_t i) { return std::min(per_piece, n - i * per_piece); };
  using Piece = AllReducePiece<Term, Sum>;
  Flow(
      &sync_, n_pieces, route.n_stages, n * sizeof(Term),
      [&](size_t i, uint8_t* buffer) {
        auto* to = reinterpret_cast<Term*>(buffer);
        Share(size_of(i), size_of(i) * sizeof(Term),
              [&](size_t begin, size_t end) { put(i * per_piece + begin, end - begin, to + begin); });
      },
      [&](size_t stage, size_t i, uint32_t message) {
        Stage(route, stage, Piece(sync_, message, size_of(i)));
      },
      [&](size_t i, uint32_t message) { take(i * per_piece, Piece(sync_, message, size_of(i)), route); });
}

template <typename T>
void ShmAllReduce::InPlace(std::span<T> x) {
  if (sync_.size() == 1 && n_hosts_ == 1) return sync_.BeginCall();
  Run<T, T>(
      x.size(), PieceFormat<T, T>::MaxElements(window_bytes_), x.size_bytes(),
      [&](size_t from, size_t n, T* to) { memcpy(to, x.data() + from, n * sizeof(T)); },
      [&](size_t from, const AllReducePiece<T, T>& piece, const Route& route) {
        const size_t read = route.kind == Route::Kind::kOnePhase ? static_cast<size_t>(sync_.size()) : 1;
        Share(piece.size(), piece.size() * sizeof(T) * read, [&](size_t begin, size_t end) {
          Get(route, piece, begin, end, x.data() + from + begin, x.data() + from);
        });
      });
}

template <typename Term, typename Sum, typename Put>
void ShmAllReduce::RowsAs(size_t n_rows, size_t cols, size_t row_bytes, Put put, const Term* own,
                          const Communicator::RowSink& sink) {
  const size_t rows_per_piece = PieceFormat<Term, Sum>::MaxElements(window_bytes_) / cols;
  const auto take_row = [&](size_t first_row, const AllReducePiece<Term, Sum>& piece, const Route& route,
                            size_t row) {
    const size_t begin = row * cols, end = begin + cols;
    const Term* own_piece = own == nullptr ? nullptr : own + first_row * cols;
    if constexpr (std::is_same_v<Sum, double>) {
      if (const double* sums = Find(route, piece, begin, end)) return sink(first_row + row, sums);
      thread_local std::vector<double> scratch;
      scratch.resize(cols);
      Get(route, piece, begin, end, scratch.data(), own_piece);
      sink(first_row + row, scratch.data());
    } else {
      thread_local std::vector<Sum> narrow;
      thread_local std::vector<double> scratch;
      narrow.resize(cols);
      scratch.resize(cols);
      Get(route, piece, begin, end, narrow.data(), own_piece);
      std::copy(narrow.begin(), narrow.end(), scratch.begin());
      sink(first_row + row, scratch.data());
    }
  };
  Run<Term, Sum>(n_rows * cols, rows_per_piece * cols, n_rows * row_bytes, put,
                 [&](size_t from, const AllReducePiece<Term, Sum>& piece, const Route& route) {
                   const size_t rows = piece.size() / cols, first_row = from / cols;
                   ForRows(rows, row_bytes, [&](size_t row) { take_row(first_row, piece, route, row); });
                 });
}

void ShmAllReduce::AllReduceRows(std::span<double> terms, size_t cols, CommOptions::Wire wire,
                                 const Communicator::RowSink& sink) {
  if (terms.empty()) return sync_.BeginCall();
  ONECOPY_CHECK(cols > 0 && terms.size() % cols == 0);
  const size_t n_rows = terms.size() / cols;
  if (sync_.size() == 1 && n_hosts_ == 1) {
    sync_.BeginCall();
    const auto take_row = [&](size_t row) { sink(row, terms.data() + row * cols); };
    return ForRows(n_rows, cols * sizeof(double), take_row);
  }
  if (wire == CommOptions::Wire::kBf16 && n_rows >= kLeastBf16Rows &&
      cols <= PieceFormat<uint16_t, float>::MaxElements(window_bytes_)) {
    const auto put = [&](size_t from, size_t n, uint16_t* to) { RoundToBf16(terms.data() + from, n, to); };
    RowsAs<uint16_t, float>(n_rows, cols, cols * sizeof(uint16_t), put, nullptr, sink);
  } else if (cols <= PieceFormat<double, double>::MaxElements(window_bytes_)) {
    const auto put = [&](size_t from, size_t n, double* to) {
      memcpy(to, terms.data() + from, n * sizeof(double));
    };
    RowsAs<double, double>(n_rows, cols, cols * sizeof(double), put, terms.data(), sink);
  } else {  // rows longer than the window
    InPlace(terms);
    for (size_t row = 0; row < n_rows; ++row) sink(row, terms.data() + row * cols);
  }
}

template void ShmAllReduce::InPlace(std::span<float> x);

}  // namespace onecopy::comm
