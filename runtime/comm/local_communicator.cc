// Ranks as threads of one process over plain memory, with the very collectives that the MPI communicator
// uses; and the single rank, which is the same with one. Each communicator belongs to its thread; they share
// the memory below.
#include <sys/mman.h>

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <numeric>

#include "runtime/base/check.h"
#include "runtime/comm/agree.h"
#include "runtime/comm/communicator.h"
#include "runtime/comm/shm_collectives.h"

namespace onecopy::comm {
namespace {

constexpr size_t kPageBytes = 4096;

// Page-aligned, zero, untouched: the first to write places it.
class Pages {
 public:
  explicit Pages(size_t bytes) : bytes_(RoundUp(std::max<size_t>(bytes, 1), kPageBytes)) {
    void* at = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
      Fail(ErrorCode::kNoMemory, "cannot get {} bytes for messages between ranks", bytes_);
    data_ = static_cast<uint8_t*>(at);
  }
  Pages(Pages&& other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(other.bytes_) {}
  Pages& operator=(Pages&&) = delete;
  ~Pages() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }
  uint8_t* data() const { return data_; }

 private:
  uint8_t* data_;
  size_t bytes_;
};

// Outlives every communicator of the group, so that a rank that leaves takes nothing away from the others.
struct Group {
  struct Member {
    int world_rank, socket;
  };
  // members: by rank.
  Group(const std::vector<Member>& members, size_t window_bytes) {
    for (const Member& member : members) {
      pages.emplace_back(RegionBytes(window_bytes));
      regions.push_back(pages.back().data());
      InitRegion(regions.back(), member.world_rank, member.socket);
    }
  }

  std::vector<Pages> pages;
  std::vector<uint8_t*> regions;
  std::mutex mutex;                                                      // of all below
  std::vector<Pages> buffers;                                            // shared ones
  std::map<std::pair<int, int>, std::deque<std::vector<uint8_t>>> mail;  // by sender and receiver
  std::condition_variable posted;
  std::map<std::pair<int, int>, std::shared_ptr<Group>> parts;  // by the number of the split and the color
};

size_t WindowBytes(const CommOptions& options) {
  return RoundUp(options.window_bytes, kLineBytes);
}

class LocalCommunicator : public Communicator {
 public:
  LocalCommunicator(int rank, std::shared_ptr<Group> group, const CommOptions& options,
                    LocalCommunicator* parent = nullptr)
      : group_(std::move(group)),
        options_(options),
        parent_(parent),
        shared_(rank, group_->regions, ShmOptionsOf(options, parent), options.wire) {
    if (parent == nullptr) return;
    shared_.all_reduce().UseTable(parent->shared_.all_reduce().table());
    shared_.all_reduce().UseTeam(parent->shared_.all_reduce().team());
  }

  int rank() const override { return shared_.rank(); }
  int size() const override { return shared_.size(); }
  int ranks_on_host() const override { return shared_.size(); }
  int rank_on_host() const override { return shared_.rank(); }
  std::vector<std::vector<int>> hosts() const override {
    std::vector<int> all(size());
    std::iota(all.begin(), all.end(), 0);
    return {all};
  }

  void Barrier() override { shared_.Barrier(); }
  void HostBarrier() override { shared_.Barrier(); }
  void AllReduceSum(std::span<float> x) override { shared_.AllReduceSum(x); }
  void AllReduceRows(std::span<double> terms, size_t cols, const RowSink& sink) override {
    shared_.AllReduceRows(terms, cols, sink);
  }
  void SetTeam(Team team) override { shared_.all_reduce().UseTeam(std::move(team)); }
  void UseTable(const CollectivesTable& table) override { shared_.all_reduce().UseTable(table); }
  const CollectivesTable& table() const override { return shared_.all_reduce().table(); }
  int sockets() const override { return static_cast<int>(shared_.all_reduce().sockets().size()); }
  void AllGatherColumns(float* x, size_t n_rows, std::span<const uint32_t> bounds, bool wanted) override {
    shared_.AllGatherColumns(x, n_rows, bounds, wanted);
  }
  void Broadcast(std::vector<uint8_t>* bytes, int root) override { shared_.Broadcast(bytes, root); }
  std::vector<std::vector<uint8_t>> AllGatherBytes(const std::vector<uint8_t>& bytes) override {
    return shared_.AllGatherBytes(bytes);
  }
  void Send(std::span<const uint8_t> bytes, int to) override {
    shared_.sync().BeginCall();
    const std::lock_guard lock(group_->mutex);
    group_->mail[{rank(), to}].emplace_back(bytes.begin(), bytes.end());
    group_->posted.notify_all();
  }
  void Receive(std::span<uint8_t> bytes, int from) override {
    shared_.sync().BeginCall();
    const int64_t start_ns = NowNs();
    std::unique_lock lock(group_->mutex);
    auto& box = group_->mail[{from, rank()}];
    while (!group_->posted.wait_for(lock, std::chrono::milliseconds(10), [&] { return !box.empty(); })) {
      shared_.sync().CheckTrouble(from);
      if (static_cast<double>(NowNs() - start_ns) * 1e-9 > options_.deadline_seconds)
        throw CommError(from, fmt::format("rank {} has not sent within {} s; the job ends here", from,
                                          options_.deadline_seconds));
    }
    ONECOPY_CHECK(box.front().size() == bytes.size());
    std::copy(box.front().begin(), box.front().end(), bytes.begin());
    box.pop_front();
  }

  std::unique_ptr<Communicator> Split(int color) override {
    std::vector<uint8_t> mine(sizeof(color));
    memcpy(mine.data(), &color, sizeof(color));
    std::vector<Group::Member> members;
    int rank_in_part = 0;
    const auto colors = shared_.AllGatherBytes(mine);
    for (int r = 0; r < size(); ++r) {
      if (r == rank()) rank_in_part = static_cast<int>(members.size());
      const RankHeader& it = *Header(group_->regions[r]);
      if (colors[r] == mine) members.push_back({it.world_rank, it.socket});
    }
    const std::lock_guard lock(group_->mutex);
    auto& part = group_->parts[{n_splits_++, color}];
    if (part == nullptr) part = std::make_shared<Group>(members, WindowBytes(options_));
    return std::make_unique<LocalCommunicator>(rank_in_part, part, options_, this);
  }

  void Agree(const char* stage, const Error* error) override {
    shared_.Barrier();  // has the deadline of set-up; the gather then waits for nobody
    ThrowIfAnyFailed(stage, shared_.AllGatherBytes(EncodeOutcome(error)));
  }

  SharedBuffer AllocateShared(size_t bytes_per_rank) override {
    Pages pages(bytes_per_rank);
    uint8_t* mine = pages.data();
    {
      const std::lock_guard lock(group_->mutex);
      group_->buffers.push_back(std::move(pages));
    }
    std::vector<uint8_t> address(sizeof(mine));
    memcpy(address.data(), &mine, sizeof(mine));
    SharedBuffer buffer{{}, bytes_per_rank};
    for (const std::vector<uint8_t>& theirs : shared_.AllGatherBytes(address)) {
      uint8_t* part;
      memcpy(&part, theirs.data(), sizeof(part));
      buffer.part.push_back(part);
    }
    return buffer;
  }

  void SetStage(const char* stage) override { shared_.sync().SetStage(stage); }
  void Abandon(const std::string& reason) noexcept override {
    shared_.sync().Abandon(reason);
    if (parent_ != nullptr) parent_->Abandon(reason);
  }
  Stats stats() const override { return {shared_.sync().wait_seconds(), shared_.sync().calls()}; }

 private:
  static ShmOptions ShmOptionsOf(const CommOptions& options, LocalCommunicator* parent) {
    ShmOptions shm = {WindowBytes(options), options.deadline_seconds, options.setup_deadline_seconds,
                      options.threads_per_rank};
    if (parent != nullptr) shm.outer_trouble = [parent] { parent->shared_.sync().CheckFailed(); };
    for (; parent != nullptr; parent = parent->parent_) shm.ranks_on_host = parent->size();
    return shm;
  }

  std::shared_ptr<Group> group_;  // before shared_, which is destroyed first and still writes to the memory
  const CommOptions options_;
  LocalCommunicator* const parent_;
  int n_splits_ = 0;
  ShmCollectives shared_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> MakeLocalCommunicators(int ranks, const CommOptions& options) {
  ONECOPY_CHECK(ranks > 0);
  std::vector<Group::Member> members;
  for (int r = 0; r < ranks; ++r) members.push_back({r, options.socket ? options.socket(r) : -1});
  const auto group = std::make_shared<Group>(members, WindowBytes(options));
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (int r = 0; r < ranks; ++r)
    communicators.push_back(std::make_unique<LocalCommunicator>(r, group, options));
  return communicators;
}

std::unique_ptr<Communicator> MakeSingleCommunicator() {
  CommOptions options;
  options.window_bytes = kPageBytes;  // never carries a message
  return std::move(MakeLocalCommunicators(1, options).front());
}

}  // namespace onecopy::comm
