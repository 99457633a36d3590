#include "runtime/shard/loader.h"

#include <omp.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <exception>
#include <optional>
#include <vector>

#include "runtime/base/check.h"
#include "runtime/numa/binding.h"
#include "runtime/shard/distribute.h"
#include "runtime/shard/model_files.h"
#include "runtime/shard/pack_crew.h"
#include "runtime/shard/packer.h"
#include "runtime/shard/plan.h"
#include "runtime/shard/read_ahead.h"
#include "runtime/shard/read_list.h"

namespace onecopy::shard {
namespace {

// Buffers a rank: one is packed from, the others are read into.
constexpr size_t kBuffers = 4;

// The same on every rank, so that any rank's buffers hold any host's blocks.
uint64_t BlockBytes(const proto::ModelSpec& spec, size_t most_ranks_on_host) {
  uint64_t bytes = std::clamp<uint64_t>(kStagingBytes / (kBuffers * most_ranks_on_host), 256 << 10, 8 << 20);
  for (const proto::Weight& w : spec.weights()) {
    const kernels::TypeInfo& info = FileInfo(w);
    bytes = std::max(bytes, IsAssembled(w) ? MinItemBytes(w, LinesAreColumns(w) ? kColStep : kRowStep)
                                           : kRowStep * kernels::RowBytes(info, w.cols()));
  }
  return bytes;
}

// CPUs of this rank's threads, which may be pinned to one each, and how many threads shall read: direct reads take hardly
// any CPU, and a few are enough for a disk; copies out of the page cache want more on a node of many cores.
ReaderThreads MakeReaderThreads() {
  std::vector<int> cpus;
  int threads = 1;
  std::exception_ptr failure;
#pragma omp parallel
#pragma omp critical(onecopy_reader_threads)
  {
    threads = omp_get_num_threads();
    try {  // nothing may leave a parallel region
      const std::vector<int> mine = numa::CurrentCpus();
      cpus.insert(cpus.end(), mine.begin(), mine.end());
    } catch (...) {
      failure = std::current_exception();
    }
  }
  if (failure) std::rethrow_exception(failure);
  std::sort(cpus.begin(), cpus.end());
  cpus.erase(std::unique(cpus.begin(), cpus.end()), cpus.end());
  return {std::clamp(threads, 4, 16), cpus};
}

// Which pages of the arena have memory. A page that two threads write to first at once is zeroed by both, and one of the
// two is thrown away; so pages are touched before they are packed into, each by one thread.
class FirstTouch {
 public:
  explicit FirstTouch(const numa::Arena& arena)
      : arena_(arena), unit_(arena.huge() ? kHugePage : kSmallPages), touched_(DivUp(arena.bytes(), unit_)) {}

  // Adds units of `target` that no earlier call had.
  void Add(std::span<const uint8_t> target, std::vector<uint8_t*>* pages) {
    if (target.empty()) return;
    const auto begin = static_cast<uint64_t>(target.data() - arena_.data());
    for (uint64_t page = begin / unit_; page < DivUp(begin + target.size(), unit_); ++page) {
      if (touched_[page]) continue;
      touched_[page] = true;
      pages->push_back(arena_.data() + page * unit_);
    }
  }

  void Touch(uint8_t* page) const {
    const uint8_t* end = std::min(page + unit_, arena_.data() + arena_.bytes());
    for (volatile uint8_t* at = page; at < end; at += kSmallPage) *at = 0;
  }

 private:
  static constexpr uint64_t kHugePage = 2 << 20, kSmallPage = 4096, kSmallPages = 16 * kSmallPage;
  const numa::Arena& arena_;
  const uint64_t unit_;  // whose pages are touched together: not many more than are used
  std::vector<bool> touched_;
};

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
        first_touch_(store.arena()),
        me_(static_cast<size_t>(comm.rank_on_host())) {
    OpenFiles();
    MakeLists(plan, plan_rank);
  }

  LoadStats Run() {
    const ReaderThreads readers = MakeReaderThreads();
    PackCrew::With([&](PackCrew& crew) {
      LoadFromFiles(crew, readers);
      const bool all = std::all_of(hosts_.begin(), hosts_.end(), [](const auto& h) { return h.has_files; });
      if (!all) Distribute(crew, readers);
    });
    End();
    return stats_;
  }

 private:
  void LoadFromFiles(PackCrew& crew, const ReaderThreads& readers) {
    std::optional<ReadAhead> reads;
    if (mine_->has_files) {
      total_ += HostBytes();
      std::vector<const ReadBlock*> blocks;
      for (size_t round = 0; round < mine_->rounds(); ++round) blocks.push_back(mine_->Block(round, me_));
      reads.emplace(files_, std::move(blocks), MyBuffers(), readers);
    }
    Rounds(/*with_files=*/true, [&](size_t round) {
      if (round >= mine_->rounds() || !reads) return;
      reads->Wait(round);
      if (const ReadBlock* block = mine_->Block(round, me_)) stats_.bytes_read += block->bytes;
      if (!error_) error_ = reads->error();
      // After this barrier the round's blocks are there, and all ranks have packed those of the round before.
      comm_.HostBarrier();
      reads->Release(round);
      PackRound(round, crew, nullptr);
    });
  }

  void Distribute(PackCrew& crew, const ReaderThreads& readers) {
    comm_.SetStage("load: distribution");
    std::vector<Shipment> shipments = MyShipments();
    for (const Shipment& shipment : shipments) total_ += shipment.block->bytes;
    Shipper shipper(comm_, files_, std::move(shipments), MyBuffers(), readers);
    if (!mine_->has_files) total_ += HostBytes();
    Rounds(/*with_files=*/false, [&](size_t round) {
      // Receivers are a round ahead of what they pack.
      shipper.ShipUpTo(round + 1);
      if (!mine_->has_files && round < mine_->rounds()) {
        if (round == 0) Receive(0);
        comm_.HostBarrier();
        // MPI is called on this thread only; the others pack meanwhile.
        PackRound(round, crew, [&] { Receive(round + 1); });
      }
      if (!error_) error_ = shipper.error();
      Progress(done_ + shipper.bytes_sent());
    });
    stats_.bytes_read += shipper.bytes_sent();
  }

  // Which files this rank could open: all ranks of a host must.
  void OpenFiles() {
    std::string missing;
    std::optional<Error> error;
    try {
      missing = files_.Open(options_.stamps);
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
    std::vector<uint8_t> said(sizeof(plan_rank));
    std::memcpy(said.data(), &plan_rank, sizeof(plan_rank));
    const std::vector<FileStamp> stamps = has_files_ ? files_.Stamps() : std::vector<FileStamp>();
    const auto* bytes = reinterpret_cast<const uint8_t*>(stamps.data());
    said.insert(said.end(), bytes, bytes + stamps.size() * sizeof(FileStamp));
    const auto all = comm_.AllGatherBytes(said);
    RequireSameFiles(all);
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
        host.has_files &= all[rank].size() > sizeof(int);
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
    staging_ = comm_.AllocateShared(kBuffers * buffer_bytes());
    if (mine_->has_files) return;
    sender_ = Senders()[comm_.rank()];
  }

  // all: by rank, its rank in the plan and the stamps of its files, where it has them. Ranks of a host that do not have the
  // same ones found different files under one name. Hosts may have copies.
  void RequireSameFiles(const std::vector<std::vector<uint8_t>>& all) const {
    for (const auto& ranks : comm_.hosts()) {
      const std::vector<uint8_t>* first = nullptr;
      for (const int rank : ranks) {
        if (all[rank].size() <= sizeof(int)) continue;
        if (first == nullptr) first = &all[rank];
        if (std::equal(first->begin() + sizeof(int), first->end(), all[rank].begin() + sizeof(int),
                       all[rank].end()))
          continue;
        Fail(ErrorCode::kBadInput,
             "the model's files, beginning with {}, were replaced while the ranks opened them; start again "
             "when they are "
             "complete",
             spec_.files(0));
      }
    }
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

  // Packs the blocks of a round; `first` runs on this thread before it takes part.
  void PackRound(size_t round, PackCrew& crew, const std::function<void()>& first) {
    std::vector<PackTask> tasks;
    for (size_t i = 0; i < mine_->ranks.size(); ++i) {
      const ReadBlock* block = mine_->Block(round, i);
      if (block == nullptr) continue;
      done_ += block->bytes;
      const uint8_t* data = BlockData(*block, Buffer(i, round));
      for (const ReadItem& item : block->items) packer_.Split(item, data, &tasks);
    }
    std::vector<uint8_t*> pages;
    for (const PackTask& task : tasks) first_touch_.Add(packer_.Target(task), &pages);
    crew.Run(pages.size(), [&](size_t p) { first_touch_.Touch(pages[p]); });
    crew.Run(
        tasks.size(), [&](size_t t) { packer_.Pack(tasks[t]); }, first);
    if (!error_) error_ = packer_.error();
    Progress(done_);
  }

  // This rank's block of a round, from the rank that sends to it.
  void Receive(size_t round) {
    const ReadBlock* block = mine_->Block(round, me_);
    if (block == nullptr) return;
    comm_.Receive({BlockData(*block, Buffer(me_, round)), block->bytes}, sender_);
    stats_.bytes_received += block->bytes;
  }

  uint64_t buffer_bytes() const { return FileReader::BufferBytes(block_bytes_); }

  uint8_t* Buffer(size_t rank_on_host, size_t round) const {
    return staging_.part[rank_on_host] + (round % kBuffers) * buffer_bytes();
  }

  std::vector<uint8_t*> MyBuffers() const {
    std::vector<uint8_t*> buffers;
    for (size_t b = 0; b < kBuffers; ++b) buffers.push_back(Buffer(me_, b));
    return buffers;
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
    std::optional<Error> changed;
    try {
      if (has_files_) files_.RequireUnchanged();
    } catch (const Error& e) {
      changed = e;
    }
    comm_.Agree("reading the weights", changed ? &*changed : nullptr);
    files_.DropCache();
    // Give the staging memory back now; the buffer itself lives as long as the communicator.
    (void)madvise(staging_.part[me_], staging_.bytes_per_rank, MADV_REMOVE);
  }

  comm::Communicator& comm_;
  const proto::ModelSpec& spec_;
  const LoadOptions& options_;
  ModelFiles files_;
  const Packer packer_;
  FirstTouch first_touch_;
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
