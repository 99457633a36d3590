// The all-reduce over per-rank regions of shared memory. Whatever the algorithm, the pieces and the threads, every
// element is rank 0's term + rank 1's + …, in this order, so all give the same bits on every rank. Over several hosts:
// per host in rank order, then host 0 + host 1 + …
//
// Algorithms: see collectives_table.h. Sums are written over the terms of the rank that makes them, where no other rank
// reads, so a message takes one buffer through all its stages (shm_flow.h).
// Belongs to one thread of its rank; the team works inside its calls. Errors: CommError, see shm_sync.h.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "runtime/comm/all_reduce_piece.h"
#include "runtime/comm/collectives_table.h"
#include "runtime/comm/communicator.h"
#include "runtime/comm/leader_link.h"
#include "runtime/comm/shm_sync.h"

namespace onecopy::comm {

class ShmAllReduce {
 public:
  // sync: outlives this. window_bytes: of a buffer, the same on all ranks.
  ShmAllReduce(ShmSync* sync, size_t window_bytes);

  void UseTable(CollectivesTable table) { table_ = std::move(table); }
  const CollectivesTable& table() const { return table_; }
  void UseTeam(Communicator::Team team) { team_ = std::move(team); }
  const Communicator::Team& team() const { return team_; }
  // From now on sums are over n_hosts > 1 hosts. link: of this host's rank 0, null on the others; outlives this.
  void JoinHosts(int n_hosts, LeaderLink* link);

  // As Communicator::AllReduceSum and AllReduceRows.
  void AllReduceSum(std::span<float> x) { InPlace(x); }
  void AllReduceRows(std::span<double> terms, size_t cols, CommOptions::Wire wire,
                     const Communicator::RowSink& sink);

  // The sockets, in rank order; one group of all ranks where a socket is unknown or its ranks do not follow each other.
  const std::vector<RankGroup>& sockets() const { return sockets_; }

 private:
  struct Route {
    enum class Kind { kOnePhase, kTwoPhases, kBySocket, kHosts } kind;
    size_t n_stages = 0;
    size_t first_host_stage = 0;  // kHosts; 1: the host's ranks sum slices before
    bool hosts_at_once = false;   // kHosts; one piece, so nothing to overlap the exchange with
  };

  Route ChooseRoute(size_t bytes, size_t n_pieces, bool may_go_by_socket) const;
  // put(from, n, to): terms [from, from + n) to the window; take(from, piece, route): uses up their sums.
  template <typename Term, typename Sum, typename Put, typename Take>
  void Run(size_t n, size_t per_piece, size_t bytes, Put put, Take take);
  template <typename Term, typename Sum>
  void Stage(const Route& route, size_t stage, const AllReducePiece<Term, Sum>& piece);
  template <typename Term, typename Sum>
  void StageOfHosts(const Route& route, size_t stage, const AllReducePiece<Term, Sum>& piece);
  template <typename Term, typename Sum>
  const Sum* Find(const Route& route, const AllReducePiece<Term, Sum>& piece, size_t begin, size_t end) const;
  // own: this rank's terms of the piece as they lie outside the buffer, or null.
  template <typename Term, typename Sum>
  void Get(const Route& route, const AllReducePiece<Term, Sum>& piece, size_t begin, size_t end, Sum* to,
           const Term* own) const;
  template <typename Term, typename Sum>
  void AddUpAndClaim(const AllReducePiece<Term, Sum>& piece, size_t begin, size_t end, Sum* to,
                     const Term* own) const;
  template <typename Term, typename Sum>
  void SumSlice(const AllReducePiece<Term, Sum>& piece, RankGroup group, const RankGroup* before);
  template <typename T>
  void InPlace(std::span<T> x);
  template <typename Term, typename Sum, typename Put>
  void RowsAs(size_t n_rows, size_t cols, size_t row_bytes, Put put, const Term* own,
              const Communicator::RowSink& sink);
  // body(begin, end) over parts of [0, n), shared out over the team where `bytes` is worth it.
  template <typename Body>
  void Share(size_t n, size_t bytes, Body body) const;
  // body(row), shared out over the team in the same way.
  template <typename Body>
  void ForRows(size_t n_rows, size_t row_bytes, Body body) const;

  RankGroup All() const { return {0, sync_.size()}; }
  RankGroup MySocket() const { return sockets_[my_socket_]; }

  ShmSync& sync_;
  const size_t window_bytes_;
  CollectivesTable table_;
  Communicator::Team team_;
  std::vector<RankGroup> sockets_;
  size_t my_socket_ = 0;
  int n_hosts_ = 1;
  LeaderLink* link_ = nullptr;
};

}  // namespace onecopy::comm
