// Ranks as threads of one process over plain memory, with the very collectives that the MPI communicator
// uses; and the single rank, which is the same with one. Each communicator belongs to its thread; they share
// the memory below.
#include <sys/mman.h>

#include <cstring>
#include <mutex>

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
  std::vector<Pages> regions;
  std::mutex mutex;
  std::vector<Pages> buffers;  // guarded by mutex
};

class LocalCommunicator : public Communicator {
 public:
  LocalCommunicator(int rank, std::shared_ptr<Group> group, const std::vector<uint8_t*>& regions,
                    const ShmOptions& options)
      : group_(std::move(group)), shared_(rank, regions, options) {}

  int rank() const override { return shared_.rank(); }
  int size() const override { return shared_.size(); }
  int ranks_on_host() const override { return shared_.size(); }
  int rank_on_host() const override { return shared_.rank(); }

  void Barrier() override { shared_.Barrier(); }
  void HostBarrier() override { shared_.Barrier(); }
  void AllReduceSum(std::span<float> x) override { shared_.AllReduceSum(x); }
  void AllReduceSum(std::span<double> x) override { shared_.AllReduceSum(x); }
  void AllGatherColumns(float* x, size_t n_rows, std::span<const uint32_t> bounds) override {
    shared_.AllGatherColumns(x, n_rows, bounds);
  }
  void Broadcast(std::vector<uint8_t>* bytes, int root) override { shared_.Broadcast(bytes, root); }
  std::vector<std::vector<uint8_t>> AllGatherBytes(const std::vector<uint8_t>& bytes) override {
    return shared_.AllGatherBytes(bytes);
  }
  void Agree(const char* stage, const Error* error) override {
    shared_.Barrier();  // has the deadline of set-up; the gather then waits for nobody
    ThrowIfAnyFailed(stage, shared_.AllGatherBytes(EncodeOutcome(error)));
  }

  SharedBuffer AllocateShared(size_t bytes_per_rank) override {
    Pages pages(bytes_per_rank);
    uint8_t* mine = pages.data();
    memset(mine, 0, bytes_per_rank);
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
  void Abandon(const std::string& reason) noexcept override { shared_.sync().Abandon(reason); }
  Stats stats() const override { return {shared_.sync().wait_seconds(), shared_.sync().calls()}; }

 private:
  std::shared_ptr<Group> group_;  // before shared_, which is destroyed first and still writes to the memory
  ShmCollectives shared_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> MakeLocalCommunicators(int ranks, const CommOptions& options) {
  ONECOPY_CHECK(ranks > 0);
  const ShmOptions shm = {RoundUp(options.window_bytes, kLineBytes), options.deadline_seconds,
                          options.setup_deadline_seconds, options.threads_per_rank};
  auto group = std::make_shared<Group>();
  std::vector<uint8_t*> regions;
  for (int r = 0; r < ranks; ++r) {
    group->regions.emplace_back(RegionBytes(shm.window_bytes));
    regions.push_back(group->regions.back().data());
    InitRegion(regions.back(), shm.window_bytes, r);
  }
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (int r = 0; r < ranks; ++r) {
    communicators.push_back(std::make_unique<LocalCommunicator>(r, group, regions, shm));
  }
  return communicators;
}

std::unique_ptr<Communicator> MakeSingleCommunicator() {
  CommOptions options;
  options.window_bytes = kPageBytes;  // never carries a message
  return std::move(MakeLocalCommunicators(1, options).front());
}

}  // namespace onecopy::comm
