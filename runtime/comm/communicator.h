// Communicator: what ranks can do together. One of three virtual seams of onecopy (faults are injected here).
// A Communicator belongs to one thread of its rank at a time. All ranks call the same operations in the same
// order with the same sizes; each operation completes on every rank or fails on every rank that is alive.
//
// Reductions sum in rank order on every rank, so all ranks hold the same bits, run after run.
// Every wait has a deadline and checks that the peers are alive. Errors: CommError, thrown from the waiting
// call with the culprit's rank, host and pid where known; after it the communicator is unusable and the
// process should end (AbortMpi, from main). A communicator destroyed by an exception tells the others, as
// Abandon does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/comm/collectives_table.h"

namespace onecopy::comm {

class CommError : public Error {
 public:
  CommError(int culprit, const std::string& message)
      : Error(ErrorCode::kCommunication, message), culprit_(culprit) {}
  int culprit() const { return culprit_; }  // -1 when unknown

 private:
  int culprit_;
};

class Communicator {
 public:
  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual int ranks_on_host() const = 0;
  virtual int rank_on_host() const = 0;
  // The ranks of each host, ascending; hosts in the order of their first ranks.
  virtual std::vector<std::vector<int>> hosts() const = 0;

  virtual void Barrier() = 0;

  // x[i] becomes the sum over ranks of x[i], added in rank order. Any size, any alignment.
  virtual void AllReduceSum(std::span<float> x) = 0;
  // Sums of rows of `cols` elements that are used up at once: sink(row, sums) once for each row, in any order and on any
  // thread of the team, with the row's `cols` sums while they are in the cache; they are gone when it returns. In f64,
  // for terms that come from a cut which depends on the number of ranks: rounded to float after, the result does not.
  // What is in `terms` afterwards is not stated. The sink must not throw.
  using RowSink = std::function<void(size_t row, const double* sums)>;
  virtual void AllReduceRows(std::span<double> terms, size_t cols, const RowSink& sink) = 0;

  // x: [n_rows][bounds.back()]; this rank has filled columns [bounds[rank], bounds[rank + 1]) of every row,
  // all other columns are overwritten with what their ranks filled. bounds: size() + 1 ascending values from
  // 0. Where the result is not wanted, the other columns are anything after, and this rank need not wait for the others.
  virtual void AllGatherColumns(float* x, size_t n_rows, std::span<const uint32_t> bounds,
                                bool wanted = true) = 0;

  // Bytes of `root` on every rank; resized on the others.
  virtual void Broadcast(std::vector<uint8_t>* bytes, int root) = 0;

  // Each rank's bytes on every rank, by rank; sizes may differ.
  virtual std::vector<std::vector<uint8_t>> AllGatherBytes(const std::vector<uint8_t>& bytes) = 0;

  // To one rank and from one: every Send has its Receive, of the same size, in the same order between the two. Send
  // returns when `bytes` may be changed, which may be before the other has them.
  virtual void Send(std::span<const uint8_t> bytes, int to) = 0;
  virtual void Receive(std::span<uint8_t> bytes, int from) = 0;

  // A communicator of the ranks that gave the same color, in the order of this one. Collective; this one outlives it,
  // and both fail together: Abandon of one is that of the other. Messages name ranks by their numbers here. Both may be
  // used in turn, in one order on every rank that is in both.
  virtual std::unique_ptr<Communicator> Split(int color) = 0;

  // Who shares long local work (copies, sums): team(n, body) calls body(0) … body(n - 1), possibly at once, and returns
  // when all are done. Without one this thread does all.
  using Team = std::function<void(size_t n, const std::function<void(size_t)>& body)>;
  // NOLINTNEXTLINE(performance-unnecessary-value-param): those that have a use for it keep it
  virtual void SetTeam(Team /*team*/) {}
  // Which algorithm an all-reduce takes from now on, also in parts split off later. The same on all ranks.
  virtual void UseTable(const CollectivesTable& /*table*/) {}
  virtual const CollectivesTable& table() const = 0;
  // How many sockets the ranks lie on, one behind the other in rank order; 1 where that is not known or not so.
  virtual int sockets() const { return 1; }

  // The end of a set-up stage: `error` is null on success. Throws on every rank when any rank failed: the
  // Error of the lowest failing rank's code, with all distinct messages ("rank 3 (host): …").
  virtual void Agree(const char* stage, const Error* error) = 0;

  // A buffer of `bytes_per_rank` bytes a rank that all ranks of this host can read and write, rank_on_host()
  // major, each part page-aligned and zero. A page lies on the node of the rank that touches it first, which
  // shall be the owner. Lives as long as the communicator.
  // Collective over the host.
  struct SharedBuffer {
    std::vector<uint8_t*> part;  // by rank on host
    size_t bytes_per_rank;
  };
  virtual SharedBuffer AllocateShared(size_t bytes_per_rank) = 0;
  // This rank's parts of the shared memory made so far, for an audit of where they lie. Empty without shared memory.
  virtual std::vector<std::span<const uint8_t>> OwnSharedMemory() const { return {}; }
  // Barrier over the ranks of this host, which also orders accesses to shared buffers.
  virtual void HostBarrier() = 0;

  // Where this rank is, for the messages of others when it does not come: "load", "step 17". Cheap.
  virtual void SetStage(const char* stage) = 0;

  // This rank cannot go on: every wait of the others fails at once with this reason instead of at its
  // deadline. For a rank that leaves the step loop by an error; where several do, the first reason stands.
  virtual void Abandon(const std::string& reason) noexcept = 0;

  // Seconds spent waiting in collectives so far, and their number.
  struct Stats {
    double wait_seconds = 0;
    uint64_t calls = 0;
  };
  virtual Stats stats() const = 0;
};

inline constexpr size_t kLeastBf16Rows = 8;

struct CommOptions {
  // kMpi: MPI_Allreduce and its like, to compare and to debug. The order of its sums is MPI's, its waits have
  // no deadline, and they spin.
  enum class Collectives { kShared, kMpi };
  Collectives collectives = Collectives::kShared;
  // How the terms of AllReduceRows travel where there are at least kLeastBf16Rows rows (a prefill): as they are, or
  // rounded to bf16, a quarter of the bytes. Then sums are exact sums of rounded terms, rounded to f32: each term brings
  // an error of at most 2^-8 of its size. Fewer rows always travel exactly. kMpi has no part in it.
  enum class Wire { kExact, kBf16 };
  Wire wire = Wire::kExact;
  // Of one wait in an all-reduce, a gather or a message: a step. Waits for the root of a Broadcast, where ranks are idle,
  // have none, but notice ranks that die, or are stopped for so long.
  double deadline_seconds = 60;
  // Of one wait in Barrier, HostBarrier and Agree: ranks load their shards at different speeds.
  double setup_deadline_seconds = 1800;
  size_t window_bytes = 256 << 10;  // per rank, per buffer of eight; larger messages go in pieces
  // Waits spin only where the ranks of a host times this fit the CPUs that they may use; otherwise they sleep
  // at once.
  int threads_per_rank = 1;
  // Called once the rank knows its place on its host, before it touches shared memory: binds the process, so that the
  // pages come to its node. May throw Error, on which all ranks then agree.
  std::function<void(int rank_on_host, int ranks_on_host)> bind = nullptr;
  // The socket of a rank of this host, -1 where it is not known; asked for this rank alone, after `bind`.
  std::function<int(int rank_on_host)> socket = nullptr;
  // > 0: treat every so many ranks of a host as a host of their own, to test the path between hosts on one
  // machine.
  int ranks_per_pretended_host = 0;
};

// One rank, no MPI.
std::unique_ptr<Communicator> MakeSingleCommunicator();

// `ranks` communicators in one process, one for each thread of a test.
std::vector<std::unique_ptr<Communicator>> MakeLocalCommunicators(int ranks, const CommOptions& options = {});

// Initialises MPI (thread level FUNNELED: all calls from the thread that made it) and makes a communicator of all ranks;
// the last one to be destroyed finalises MPI, after which none can be made. Destruction by an exception or after a
// CommError leaves that out: peers may never come, MPI_Finalize would wait for them, and main must call AbortMpi.
// Errors: kNoMemory when /dev/shm cannot hold the window.
std::unique_ptr<Communicator> MakeMpiCommunicator(const CommOptions& options);

// True where the environment shows that an MPI launcher started this process (mpirun, or srun with PMIx).
bool LaunchedByMpi();

// "Open MPI v4.1.4", and what it was compiled against where that is another. Also before MPI is initialised.
std::string MpiVersion();

// Ends the whole job with this exit code: MPI_Abort where MPI runs, _exit otherwise. Flushes stdio first. For
// main.
[[noreturn]] void AbortMpi(int exit_code);

}  // namespace onecopy::comm
