#include "runtime/shard/loader.h"

#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <future>
#include <optional>
#include <vector>

#include "runtime/base/check.h"
#include "runtime/shard/distribute.h"
#include "runtime/shard/model_files.h"
#include "runtime/shard/plan.h"
#include "runtime/shard/read_list.h"

namespace onecopy::shard {
namespace {

// A piece of work for one thread: rows [row_begin, row_end) of an item, a multiple of kRowStep from its
// start.
struct PackTask {
  const ReadItem* item;
  uint32_t row_begin, row_end;
  const uint8_t* src;  // row row_begin
};

class Packer {
 public:
  Packer(const proto::ModelSpec& spec, const proto::ShardPlan& plan, const WeightStore& store, int rank)
      : spec_(spec), plan_(plan), store_(store), rank_(rank) {}

  // Cuts an item, whose first row is at src, into tasks of about half a megabyte.
  static void Split(const ReadItem& item, const uint8_t* src, std::vector<PackTask>* tasks) {
    const auto step =
        static_cast<uint32_t>(std::max<uint64_t>(1, (512 << 10) / (item.row_bytes * kRowStep)) * kRowStep);
    for (uint32_t r = item.row_begin; r < item.row_end; r += step)
      tasks->push_back(
          {&item, r, std::min(item.row_end, r + step), src + (r - item.row_begin) * item.row_bytes});
  }

  void Pack(const PackTask& task) const {
    const ReadItem& item = *task.item;
    const proto::Weight& weight = spec_.weights(item.weight);
    const auto& info = kernels::Info(static_cast<kernels::WeightType>(weight.type()));
    if (plan_.placements(item.weight).axis() == proto::WeightPlacement::REPLICATED) {
      for (uint32_t r = task.row_begin; r < task.row_end; ++r)
        info.decode(task.src + (r - task.row_begin) * item.row_bytes,
                    store_.VectorData(item.weight) + r * weight.cols(), weight.cols());
      return;
    }
    const kernels::PackedMatrix& matrix = store_.Matrix(item.weight, item.expert);
    if (matrix.rows == 0) return;
    uint8_t* out = store_.MatrixData(item.weight, item.expert);
    if (plan_.placements(item.weight).axis() == proto::WeightPlacement::COLS) {
      const uint64_t first =
          uint64_t{matrix.first_col} / info.block_cols * info.block_bytes - item.first_byte;
      kernels::PackRows(matrix, out, task.row_begin, task.row_end - task.row_begin, task.src + first,
                        item.row_bytes);
      return;
    }
    const Range range = OwnedRange(spec_, plan_, item.weight, item.expert, rank_);
    const uint32_t begin = std::max(task.row_begin, range.begin), end = std::min(task.row_end, range.end);
    if (begin >= end) return;
    kernels::PackRows(matrix, out, begin - range.begin, end - begin,
                      task.src + (begin - task.row_begin) * item.row_bytes, item.row_bytes);
  }

 private:
  const proto::ModelSpec& spec_;
  const proto::ShardPlan& plan_;
  const WeightStore& store_;
  const int rank_;
};

// The same on every rank, so that any rank's buffers hold any host's blocks.
uint64_t BlockBytes(const proto::ModelSpec& spec, size_t most_ranks_on_host) {
  uint64_t bytes = std::clamp<uint64_t>(kStagingBytes / (2 * most_ranks_on_host), 256 << 10, 8 << 20);
  for (const proto::Weight& w : spec.weights()) {
    const auto& info = kernels::Info(static_cast<kernels::WeightType>(w.type()));
    bytes = std::max(bytes, kRowStep * kernels::RowBytes(info, w.cols()));
  }
  return bytes;
}

// One host's load, as every rank knows it.
struct HostLoad {
  std::vector<int> ranks;  // of the job
  bool has_files = false;
  std::vector<ReadBlock> blocks;

  size_t rounds() const { return DivUp(blocks.size(), ranks.size()); }
  // What the host's i-th rank gets in that round; nullptr when nothing.
  const ReadBlock* Block(size_t round, size_t i) const {
    const size_t b = round * ranks.size() + i;
    return b < blocks.size() ? &blocks[b] : nullptr;
  }
};

class Load {
 public:
  Load(comm::Communicator& comm, const proto::ModelSpec& spec, const proto::ShardPlan& plan,
       const WeightStore& store, int plan_rank, const LoadOptions& options)
      : comm_(comm),
        spec_(spec),
        options_(options),
        files_(spec),
        packer_(spec, plan, store, plan_rank),
        me_(static_cast<size_t>(comm.rank_on_host())) {
    OpenFiles();
    MakeLists(plan, plan_rank);
  }

  LoadStats Run() {
    if (mine_->has_files) total_ += HostBytes();
    Rounds(/*with_files=*/true, [&](size_t round) {
      if (mine_->has_files) LoadRound(round);
    });
    if (std::all_of(hosts_.begin(), hosts_.end(), [](const HostLoad& h) { return h.has_files; })) {
      End();
      return stats_;
    }
    comm_.SetStage("load: distribution");
    std::vector<Shipment> shipments = MyShipments();
    for (const Shipment& shipment : shipments) total_ += shipment.block->bytes;
    Shipper shipper(comm_, files_, std::move(shipments), {Buffer(me_, 0), Buffer(me_, 1)});
    if (!mine_->has_files) total_ += HostBytes();
    Rounds(/*with_files=*/false, [&](size_t round) {
      // Receivers are a round ahead of what they pack.
      shipper.ShipUpTo(round + 1);
      if (!mine_->has_files) LoadRound(round);
      if (shipper.error() && !error_) error_ = shipper.error();
      Progress(done_ + shipper.bytes_sent());
    });
    stats_.bytes_read += shipper.bytes_sent();
    End();
    return stats_;
  }

 private:
  // Which files this rank could open: all ranks of a host must.
  void OpenFiles() {
    std::string missing;
    std::optional<Error> error;
    try {
      missing = files_.Open();
      if (!missing.empty() && !options_.distribute)
        Fail(ErrorCode::kBadInput,
             "{} does not exist on this host; every host needs the model at this path, or --distribute to "
             "get its "
             "part from one that has it",
             missing);
    } catch (const Error& e) {
      error = e;
    }
    comm_.Agree("opening the model's files", error ? &*error : nullptr);
    has_files_ = missing.empty();
  }

  void MakeLists(const proto::ShardPlan& plan, int plan_rank) {
    std::vector<uint8_t> said(sizeof(plan_rank) + 1);
    std::memcpy(said.data(), &plan_rank, sizeof(plan_rank));
    said.back() = has_files_ ? 1 : 0;
    const auto all = comm_.AllGatherBytes(said);
    size_t most = 1;
    for (const auto& ranks : comm_.hosts()) most = std::max(most, ranks.size());
    block_bytes_ = BlockBytes(spec_, most);
    bool somebody = false;
    for (const auto& ranks : comm_.hosts()) {
      HostLoad host = {ranks, true, {}};
      std::vector<int> plan_ranks;
      for (const int rank : ranks) {
        plan_ranks.emplace_back();
        std::memcpy(&plan_ranks.back(), all[rank].data(), sizeof(int));
        host.has_files &= all[rank].back() != 0;
      }
      std::sort(plan_ranks.begin(), plan_ranks.end());
      plan_ranks.erase(std::unique(plan_ranks.begin(), plan_ranks.end()), plan_ranks.end());
      // What goes through the network is exactly what the host needs; from its own files it reads whole rows.
      host.blocks =
          MakeReadList(spec_, plan, plan_ranks, block_bytes_, host.has_files ? kMinSkippedRowBytes : 1);
      somebody |= host.has_files;
      hosts_.push_back(std::move(host));
    }
    for (const HostLoad& host : hosts_)
      if (std::count(host.ranks.begin(), host.ranks.end(), comm_.rank()) > 0) mine_ = &host;
    if (!somebody)
      Fail(ErrorCode::kBadInput, "no host has all files of the model any more, beginning with {}",
           spec_.files(0));
    staging_ = comm_.AllocateShared(2 * block_bytes_);
    if (mine_->has_files) return;
    sender_ = Senders()[comm_.rank()];
  }

  std::vector<int> Senders() const {
    std::vector<std::vector<int>> ranks;
    std::vector<bool> has_files;
    for (const HostLoad& host : hosts_) {
      ranks.push_back(host.ranks);
      has_files.push_back(host.has_files);
    }
    return ChooseSenders(ranks, has_files);
  }

  std::vector<Shipment> MyShipments() const {
    const std::vector<int> senders = Senders();
    std::vector<Shipment> shipments;
    for (const HostLoad& host : hosts_) {
      for (size_t i = 0; i < host.ranks.size(); ++i) {
        if (senders[host.ranks[i]] != comm_.rank()) continue;
        for (size_t round = 0; round < host.rounds(); ++round)
          if (const ReadBlock* block = host.Block(round, i))
            shipments.push_back({round, host.ranks[i], block});
      }
    }
    std::stable_sort(shipments.begin(), shipments.end(),
                     [](const Shipment& a, const Shipment& b) { return a.round < b.round; });
    return shipments;
  }

  // body(round) for all rounds of the hosts that have files, or of those that have not. Every so often the ranks agree
  // that all is well: a read that failed is found before the end, and no rank waits long for those that have more to do.
  template <typename Body>
  void Rounds(bool with_files, Body body) {
    constexpr size_t kRoundsBetween = 64;
    size_t rounds = 0;
    for (const HostLoad& host : hosts_)
      if (host.has_files == with_files) rounds = std::max(rounds, host.rounds());
    for (size_t round = 0; round < rounds; ++round) {
      body(round);
      if (round % kRoundsBetween == kRoundsBetween - 1 || round + 1 == rounds)
        comm_.Agree("reading the weights", error_ ? &*error_ : nullptr);
    }
  }

  // Packs the blocks of a round, while this rank's block of the next one is being read or received.
  void LoadRound(size_t round) {
    if (round >= mine_->rounds()) return;
    if (round == 0) Fetch(0);
    // After this barrier the round's blocks are there, and the other buffer is free: its packing came before.
    comm_.HostBarrier();
    std::vector<PackTask> tasks;
    for (size_t i = 0; i < mine_->ranks.size(); ++i) {
      const ReadBlock* block = mine_->Block(round, i);
      if (block == nullptr) continue;
      done_ += block->bytes;
      for (const ReadItem& item : block->items)
        Packer::Split(item, Buffer(i, round) + item.offset_in_block, &tasks);
    }
    std::future<void> reading;
    if (sender_ < 0) reading = std::async(std::launch::async, [this, round] { Fetch(round + 1); });
    std::exception_ptr failure;
#pragma omp parallel
    {
#pragma omp master
      if (sender_ >= 0) {  // MPI is called on this thread only; the others pack meanwhile
        try {
          Fetch(round + 1);
        } catch (...) {
          failure = std::current_exception();
        }
      }
#pragma omp for schedule(dynamic)
      for (size_t t = 0; t < tasks.size(); ++t) packer_.Pack(tasks[t]);  // NOLINT(modernize-loop-convert)
    }
    if (reading.valid()) reading.wait();
    if (failure) std::rethrow_exception(failure);
    Progress(done_);
  }

  // Gets this rank's block of a round. A read that fails is kept, not thrown: the other ranks are on their way to a
  // barrier.
  void Fetch(size_t round) {
    const ReadBlock* block = mine_->Block(round, me_);
    if (block == nullptr) return;
    uint8_t* to = Buffer(me_, round);
    if (sender_ >= 0) {
      comm_.Receive({to, block->bytes}, sender_);
      stats_.bytes_received += block->bytes;
      return;
    }
    if (error_) return;
    try {
      files_.Read(*block, to);
      stats_.bytes_read += block->bytes;
    } catch (const Error& e) {
      error_ = e;
    }
  }

  uint8_t* Buffer(size_t rank_on_host, size_t round) const {
    return staging_.part[rank_on_host] + (round % 2) * block_bytes_;
  }

  uint64_t HostBytes() const {
    uint64_t bytes = 0;
    for (const ReadBlock& block : mine_->blocks) bytes += block.bytes;
    return bytes;
  }

  void Progress(uint64_t done) const {
    if (options_.progress && comm_.rank() == 0) options_.progress(done, std::max(done, total_));
  }

  void End() {
    files_.DropCache();
    // Give the staging memory back now; the buffer itself lives as long as the communicator.
    (void)madvise(staging_.part[me_], staging_.bytes_per_rank, MADV_REMOVE);
  }

  comm::Communicator& comm_;
  const proto::ModelSpec& spec_;
  const LoadOptions& options_;
  ModelFiles files_;
  const Packer packer_;
  const size_t me_;  // among the ranks of this host
  bool has_files_ = false;
  std::vector<HostLoad> hosts_;
  const HostLoad* mine_ = nullptr;
  int sender_ = -1;  // who sends to this rank; -1: it reads
  uint64_t block_bytes_ = 0;
  comm::Communicator::SharedBuffer staging_;
  std::optional<Error> error_;
  uint64_t done_ = 0, total_ = 0;
  LoadStats stats_;
};

}  // namespace

LoadStats LoadWeights(comm::Communicator& comm, const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                      const WeightStore& store, int plan_rank, const LoadOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  comm.SetStage("load");
  LoadStats stats = Load(comm, spec, plan, store, plan_rank, options).Run();
  stats.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return stats;
}

}  // namespace onecopy::shard
