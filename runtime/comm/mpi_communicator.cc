// The communicator of a job under MPI. On one host: the shared-memory collectives over a window. Over
// several: shared memory inside each host, then MPI between the first ranks of the hosts, then shared memory
// again; sums are taken per host in rank order, then over hosts in order, so they are the same bits on all
// ranks and from run to run, but differ in rounding from those of the same ranks on one host.
#include <stdlib.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <optional>

#include "runtime/base/check.h"
#include "runtime/base/log.h"
#include "runtime/comm/agree.h"
#include "runtime/comm/byte_vectors.h"
#include "runtime/comm/communicator.h"
#include "runtime/comm/leader_link.h"
#include "runtime/comm/mpi_guard.h"
#include "runtime/comm/mpi_plain.h"
#include "runtime/comm/mpi_session.h"
#include "runtime/comm/mpi_window.h"
#include "runtime/comm/shm_collectives.h"

namespace onecopy::comm {
namespace {

constexpr double kLeadersHeadStart = 2;

class MpiCommunicator : public Communicator {
 protected:
  MpiHandle ranks() const { return mpi_.ranks; }
  void BeginCall() { shared_->sync().BeginCall(); }
  // Runs an operation; a CommError ends the communicator, and the ranks of this host learn why.
  template <typename Operation>
  auto Guarded(Operation operation) {
    agreed_to_end_ = false;
    try {
      return operation();
    } catch (const CommError& e) {
      Abandon(e.what());
      throw;
    }
  }

 public:
  explicit MpiCommunicator(const CommOptions& options)
      : MpiCommunicator(MpiSession::Acquire(options.ranks_per_pretended_host), nullptr, 0, options) {}
  // Of those ranks of `parent` that give this color.
  MpiCommunicator(MpiCommunicator* parent, int color)
      : MpiCommunicator(parent->session_, parent, color, parent->options_) {}

  ~MpiCommunicator() override {
    const bool by_exception = std::uncaught_exceptions() > exceptions_at_start_;
    if (failed_ || (by_exception && !agreed_to_end_)) {
      AbandonMpi();
      return;
    }
    try {
      // MPI_Win_free and MPI_Finalize wait without a deadline, so come together first.
      Guarded([&] { ShmBarrier(); });
      ending_.emplace("ending MPI", options_.deadline_seconds, options_.setup_deadline_seconds);
      shared_.reset();
      windows_.clear();
    } catch (const std::exception& e) {
      log::error("cannot end the job in peace: {}", e.what());
      AbandonMpi();
    }
  }

  int rank() const override { return mpi_.rank; }
  int size() const override { return mpi_.size; }
  int ranks_on_host() const override { return mpi_.ranks_on_host; }
  int rank_on_host() const override { return mpi_.rank_on_host; }
  std::vector<std::vector<int>> hosts() const override { return mpi_.hosts; }

  void Barrier() override {
    Guarded([&] { ShmBarrier(); });
  }

  void HostBarrier() override {
    Guarded([&] { shared_->Barrier(); });
  }

  void AllReduceSum(std::span<float> x) override {
    Guarded([&] { shared_->AllReduceSum(x); });
  }
  void AllReduceRows(std::span<double> terms, size_t cols, const RowSink& sink) override {
    Guarded([&] { shared_->AllReduceRows(terms, cols, sink); });
  }
  void SetTeam(Team team) override { shared_->all_reduce().UseTeam(std::move(team)); }
  void UseTable(const CollectivesTable& table) override { shared_->all_reduce().UseTable(table); }
  const CollectivesTable& table() const override { return shared_->all_reduce().table(); }
  int sockets() const override { return static_cast<int>(shared_->all_reduce().sockets().size()); }

  void AllGatherColumns(float* x, size_t n_rows, std::span<const uint32_t> bounds, bool wanted) override {
    Guarded([&] { shared_->AllGatherColumns(x, n_rows, bounds, wanted); });
  }

  void Broadcast(std::vector<uint8_t>* bytes, int root) override {
    Guarded([&] {
      if (OneHost()) return shared_->Broadcast(bytes, root);
      const int root_host = HostOf(root);
      if (mpi_.host == root_host) shared_->Broadcast(bytes, IndexOnHost(root));
      if (IsLeader()) link_->Broadcast(bytes, root_host);
      if (mpi_.host != root_host) shared_->Broadcast(bytes, 0);
    });
  }

  void Send(std::span<const uint8_t> bytes, int to) override {
    Guarded([&] {
      partner_ = to;
      plain::Send(mpi_.ranks, bytes, to, &wait_, options_.deadline_seconds);
    });
  }
  void Receive(std::span<uint8_t> bytes, int from) override {
    Guarded([&] {
      partner_ = from;
      plain::Receive(mpi_.ranks, bytes, from, &wait_, options_.deadline_seconds);
    });
  }

  std::unique_ptr<Communicator> Split(int color) override {
    Barrier();  // has the deadline of set-up
    const MpiGuard guard("making groups of ranks", options_.deadline_seconds,
                         options_.setup_deadline_seconds);
    return std::make_unique<MpiCommunicator>(this, color);
  }

  ByteVectors AllGatherBytes(const std::vector<uint8_t>& bytes) override {
    return Guarded([&] { return OneHost() ? shared_->AllGatherBytes(bytes) : GatherBytesOverHosts(bytes); });
  }

  void Agree(const char* stage, const Error* error) override {
    Barrier();  // has the deadline of set-up; the gather then waits for nobody
    const ByteVectors outcomes = AllGatherBytes(EncodeOutcome(error));
    // If this throws, it throws everywhere: unless caught and forgotten, all ranks leave together and in
    // peace.
    agreed_to_end_ = true;
    ThrowIfAnyFailed(stage, outcomes);
    agreed_to_end_ = false;
  }

  std::vector<std::span<const uint8_t>> OwnSharedMemory() const override {
    std::vector<std::span<const uint8_t>> parts;
    for (const auto& window : windows_)
      parts.emplace_back(window->parts()[mpi_.rank_on_host], window->bytes_per_rank());
    return parts;
  }

  SharedBuffer AllocateShared(size_t bytes_per_rank) override {
    return Guarded([&] {
      RequireSharedMemoryEverywhere(bytes_per_rank, [&](const std::vector<uint8_t>& outcome) {
        // Collective over the host only, so the host decides alone.
        return shared_->AllGatherBytes(outcome);
      });
      {
        const MpiGuard guard("getting shared memory", options_.deadline_seconds,
                             options_.setup_deadline_seconds);
        windows_.push_back(std::make_unique<MpiWindow>(mpi_.on_host, bytes_per_rank));
      }
      shared_->Barrier();
      return SharedBuffer{windows_.back()->parts(), bytes_per_rank};
    });
  }

  void SetStage(const char* stage) override { shared_->sync().SetStage(stage); }

  void Abandon(const std::string& reason) noexcept override {
    failed_ = true;
    if (shared_) shared_->sync().Abandon(reason);
    if (parent_ != nullptr) parent_->Abandon(reason);
  }

  Stats stats() const override {
    const double between_hosts = link_ ? link_->wait_seconds() : 0;
    return {shared_->sync().wait_seconds() + wait_.wait_seconds() + between_hosts, shared_->sync().calls()};
  }

 private:
  MpiCommunicator(std::shared_ptr<MpiSession> session, MpiCommunicator* parent, int color,
                  const CommOptions& options)
      : session_(std::move(session)),
        parent_(parent),
        options_(options),
        mpi_(parent == nullptr ? session_->all() : session_->Split(parent->mpi_, color)),
        wait_([this] {
          if (HostOf(partner_) == mpi_.host)
            shared_->sync().CheckTrouble(IndexOnHost(partner_));
          else
            shared_->sync().CheckTrouble();
        }),
        exceptions_at_start_(std::uncaught_exceptions()) {
    try {
      Open();
    } catch (...) {
      if (!agreed_to_end_) AbandonMpi();
      throw;
    }
  }

  bool OneHost() const { return mpi_.hosts.size() == 1; }
  bool IsLeader() const { return mpi_.rank_on_host == 0; }

  // Waits inside MPI, all of it behind a barrier with a deadline of its own.
  void Open() {
    ShmOptions shm = {RoundUp(options_.window_bytes, kLineBytes), options_.deadline_seconds,
                      options_.setup_deadline_seconds, options_.threads_per_rank,
                      session_->all().ranks_on_host};
    if (parent_ != nullptr) shm.outer_trouble = [this] { parent_->shared_->sync().CheckFailed(); };
    // The leader gives up first, as it knows which host is missing; the others know only that the leader is late.
    if (!OneHost() && !IsLeader()) shm.deadline_seconds += kLeadersHeadStart;
    const size_t bytes = RegionBytes(shm.window_bytes);
    if (parent_ == nullptr && options_.bind) {
      std::optional<Error> error;
      try {
        options_.bind(mpi_.rank_on_host, mpi_.ranks_on_host);
      } catch (const Error& e) {
        error = e;
      }
      AgreeOn("binding ranks to their nodes", error, [&](const std::vector<uint8_t>& outcome) {
        return plain::AllGatherBytes(mpi_.ranks, outcome);
      });
    }
    RequireSharedMemoryEverywhere(bytes, [&](const std::vector<uint8_t>& outcome) {
      return plain::AllGatherBytes(mpi_.ranks, outcome);
    });
    windows_.push_back(std::make_unique<MpiWindow>(mpi_.on_host, bytes));
    const std::vector<uint8_t*>& parts = windows_.back()->parts();
    if (parent_ != nullptr)
      socket_ = parent_->socket_;
    else if (options_.socket)
      socket_ = options_.socket(mpi_.rank_on_host);
    InitRegion(parts[mpi_.rank_on_host], session_->all().rank, socket_);
    plain::Barrier(mpi_.ranks);
    shared_.emplace(mpi_.rank_on_host, parts, shm, options_.wire);
    if (parent_ != nullptr) {
      shared_->all_reduce().UseTable(parent_->shared_->all_reduce().table());
      shared_->all_reduce().UseTeam(parent_->shared_->all_reduce().team());
    }
    if (OneHost()) return;
    if (IsLeader()) {
      link_.emplace(mpi_.leaders, OtherHosts(), options_.deadline_seconds, shm.barrier_deadline_seconds,
                    [this] { shared_->sync().CheckTrouble(); });
    }
    shared_->JoinHosts({mpi_.hosts, mpi_.host}, link_ ? &*link_ : nullptr);
  }

  // Of leaders: "host2 (ranks from 2) or host3 (ranks from 4)".
  std::string OtherHosts() const {
    const std::string mine = HostName();
    const ByteVectors names = plain::AllGatherBytes(mpi_.leaders, {mine.begin(), mine.end()});
    std::string all;
    for (size_t h = 0; h < names.size(); ++h) {
      if (static_cast<int>(h) == mpi_.host) continue;
      all += fmt::format("{}{} (ranks from {})",
                         all.empty()        ? ""
                         : names.size() > 2 ? " or "
                                            : "",
                         std::string(names[h].begin(), names[h].end()), mpi_.hosts[h].front());
    }
    return all;
  }

  // gather: the outcomes of all ranks that must decide together.
  template <typename Gather>
  void RequireSharedMemoryEverywhere(size_t bytes_per_rank, Gather gather) {
    std::optional<Error> error;
    // Judged by one rank of the host: another may already have taken its part when a third one looks.
    try {
      if (IsLeader()) RequireSharedMemory(mpi_.ranks_on_host, bytes_per_rank);
    } catch (const Error& e) {
      error = e;
    }
    AgreeOn("getting memory for messages between ranks", error, gather);
  }

  // gather: as above.
  template <typename Gather>
  void AgreeOn(const char* stage, const std::optional<Error>& error, Gather gather) {
    const ByteVectors outcomes = gather(EncodeOutcome(error ? &*error : nullptr));
    agreed_to_end_ = true;
    ThrowIfAnyFailed(stage, outcomes);
    agreed_to_end_ = false;
  }

  // The peers take part in nothing more: leave out all that waits for them.
  void AbandonMpi() {
    if (shared_) shared_->sync().Abandon("it left because of an error of its own");
    for (const auto& window : windows_) window->Abandon();
    session_->Abandon();
  }

  void ShmBarrier() {
    shared_->Barrier();
    if (OneHost()) return;
    if (IsLeader()) link_->Barrier();
    shared_->Barrier();
  }

  int HostOf(int world_rank) const {
    for (size_t h = 0; h < mpi_.hosts.size(); ++h) {
      const auto& ranks = mpi_.hosts[h];
      if (std::binary_search(ranks.begin(), ranks.end(), world_rank)) return static_cast<int>(h);
    }
    Fail(ErrorCode::kInternal, "rank {} is on no host", world_rank);
  }
  int IndexOnHost(int world_rank) const {
    const auto& ranks = mpi_.hosts[HostOf(world_rank)];
    return static_cast<int>(std::lower_bound(ranks.begin(), ranks.end(), world_rank) - ranks.begin());
  }

  ByteVectors GatherBytesOverHosts(const std::vector<uint8_t>& bytes) {
    const ByteVectors on_host = shared_->AllGatherBytes(bytes);
    std::vector<uint8_t> flat;
    if (IsLeader()) flat = Flatten(link_->AllGatherBytes(Flatten(on_host)));
    shared_->Broadcast(&flat, 0);
    const ByteVectors by_host = Unflatten(flat, mpi_.hosts.size());
    ByteVectors by_rank(size());
    for (size_t h = 0; h < mpi_.hosts.size(); ++h) {
      ByteVectors parts = Unflatten(by_host[h], mpi_.hosts[h].size());
      for (size_t i = 0; i < parts.size(); ++i) by_rank[mpi_.hosts[h][i]] = std::move(parts[i]);
    }
    return by_rank;
  }

  // Destroyed in reverse: the windows before MPI, the collectives before the windows that they write to.
  std::optional<MpiGuard> ending_;
  const std::shared_ptr<MpiSession> session_;
  MpiCommunicator* const parent_;  // nullptr: this one has all ranks
  const CommOptions options_;
  const MpiGroup mpi_;
  MpiWait wait_;                                     // of messages from rank to rank
  int partner_ = 0;                                  // of the message under way
  std::vector<std::unique_ptr<MpiWindow>> windows_;  // the first carries the messages
  std::optional<LeaderLink> link_;                   // on leaders of several hosts
  std::optional<ShmCollectives> shared_;
  const int exceptions_at_start_;
  int socket_ = -1;
  bool failed_ = false;
  bool agreed_to_end_ = false;
};

// The same window and the same host, but MPI's own collectives.
class PlainMpiCommunicator : public MpiCommunicator {
  template <typename Operation>
  auto Counted(Operation operation) {
    BeginCall();
    return Guarded(operation);
  }

 public:
  using MpiCommunicator::MpiCommunicator;

  std::unique_ptr<Communicator> Split(int color) override {
    Barrier();
    return std::make_unique<PlainMpiCommunicator>(this, color);
  }

  void Barrier() override {
    Counted([&] { plain::Barrier(ranks()); });
  }
  void AllReduceSum(std::span<float> x) override {
    Counted([&] { plain::AllReduceSum(ranks(), x); });
  }
  void AllReduceRows(std::span<double> terms, size_t cols, const RowSink& sink) override {
    Counted([&] { plain::AllReduceSum(ranks(), terms); });
    for (size_t row = 0; row * cols < terms.size(); ++row) sink(row, terms.data() + row * cols);
  }
  void AllGatherColumns(float* x, size_t n_rows, std::span<const uint32_t> bounds, bool /*wanted*/) override {
    Counted([&] { plain::AllGatherColumns(ranks(), x, n_rows, bounds); });
  }
  void Broadcast(std::vector<uint8_t>* bytes, int root) override {
    Counted([&] { plain::Broadcast(ranks(), bytes, root); });
  }
  ByteVectors AllGatherBytes(const std::vector<uint8_t>& bytes) override {
    return Counted([&] { return plain::AllGatherBytes(ranks(), bytes); });
  }
};

}  // namespace

std::unique_ptr<Communicator> MakeMpiCommunicator(const CommOptions& options) {
  // Open MPI makes a segment of 4 MiB a rank before anything of ours, and its own messages where that fails help nobody.
  constexpr size_t kOpenMpiSegment = 4ull << 20;
  const char* ranks = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
  if (ranks != nullptr && atoi(ranks) > 1) RequireSharedMemory(atoi(ranks), kOpenMpiSegment);
  const MpiGuard guard("starting MPI", options.deadline_seconds, options.setup_deadline_seconds);
  if (options.collectives == CommOptions::Collectives::kMpi)
    return std::make_unique<PlainMpiCommunicator>(options);
  return std::make_unique<MpiCommunicator>(options);
}

}  // namespace onecopy::comm
