#include "runtime/shard/loader.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <future>
#include <optional>
#include <vector>

#include "runtime/base/check.h"
#include "runtime/shard/plan.h"
#include "runtime/shard/read_list.h"

namespace onecopy::shard {
namespace {

// The model's files, open for reading. Not mmap: a file that shrinks would be a SIGBUS.
class Files {
 public:
  explicit Files(const proto::ModelSpec& spec) : spec_(spec) {}
  ~Files() {
    for (int fd : fds_)
      if (fd >= 0) close(fd);
  }
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;

  void Open() {
    for (int f = 0; f < spec_.files_size(); ++f) {
      const std::string& path = spec_.files(f);
      fds_.push_back(open(path.c_str(), O_RDONLY | O_CLOEXEC));
      if (fds_.back() < 0)
        Fail(ErrorCode::kBadInput, "cannot open {}: {}; every host needs the model at this path", path,
             std::strerror(errno));
      struct stat st;
      if (fstat(fds_.back(), &st) != 0 || static_cast<uint64_t>(st.st_size) != spec_.file_bytes(f))
        Fail(ErrorCode::kBadInput,
             "{} has {} bytes, but had {} when its headers were read; it must not change while it is loaded",
             path, static_cast<uint64_t>(st.st_size), spec_.file_bytes(f));
    }
  }

  void Read(const ReadBlock& block, uint8_t* to) const {
    uint64_t done = 0;
    while (done < block.bytes) {
      const ssize_t n =
          pread(fds_[block.file], to + done, block.bytes - done, static_cast<off_t>(block.offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0)
        Fail(ErrorCode::kBadInput, "cannot read {} at byte {}: {}", spec_.files(static_cast<int>(block.file)),
             block.offset + done,
             n == 0 ? "the file became shorter while it was loaded" : std::strerror(errno));
      done += static_cast<uint64_t>(n);
    }
    Drop(block.file, block.offset, block.bytes);
  }

  // The page cache must not hold a second copy of the model. Advice only: a file system may ignore it.
  void Drop(uint32_t file, uint64_t offset, uint64_t bytes) const {
    (void)posix_fadvise(fds_[file], static_cast<off_t>(offset), static_cast<off_t>(bytes),
                        POSIX_FADV_DONTNEED);
  }
  void DropAll() const {
    for (size_t f = 0; f < fds_.size(); ++f) Drop(static_cast<uint32_t>(f), 0, 0);
  }

 private:
  const proto::ModelSpec& spec_;
  std::vector<int> fds_;
};

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
  void Split(const ReadItem& item, const uint8_t* src, std::vector<PackTask>* tasks) const {
    const proto::Weight& weight = spec_.weights(item.weight);
    const auto& info = kernels::Info(static_cast<kernels::WeightType>(weight.type()));
    const uint64_t row_bytes = kernels::RowBytes(info, weight.cols());
    const auto step =
        static_cast<uint32_t>(std::max<uint64_t>(1, (512 << 10) / (row_bytes * kRowStep)) * kRowStep);
    for (uint32_t r = item.row_begin; r < item.row_end; r += step)
      tasks->push_back({&item, r, std::min(item.row_end, r + step), src + (r - item.row_begin) * row_bytes});
  }

  void Pack(const PackTask& task) const {
    const ReadItem& item = *task.item;
    const proto::Weight& weight = spec_.weights(item.weight);
    const auto& info = kernels::Info(static_cast<kernels::WeightType>(weight.type()));
    const uint64_t row_bytes = kernels::RowBytes(info, weight.cols());
    if (plan_.placements(item.weight).axis() == proto::WeightPlacement::REPLICATED) {
      for (uint32_t r = task.row_begin; r < task.row_end; ++r)
        info.decode(task.src + (r - task.row_begin) * row_bytes,
                    store_.VectorData(item.weight) + r * weight.cols(), weight.cols());
      return;
    }
    const kernels::PackedMatrix& matrix = store_.Matrix(item.weight, item.expert);
    if (matrix.rows == 0) return;
    uint8_t* out = store_.MatrixData(item.weight, item.expert);
    if (plan_.placements(item.weight).axis() == proto::WeightPlacement::COLS) {
      const uint64_t first = uint64_t{matrix.first_col} / info.block_cols * info.block_bytes;
      kernels::PackRows(matrix, out, task.row_begin, task.row_end - task.row_begin, task.src + first,
                        row_bytes);
      return;
    }
    const Range range = OwnedRange(spec_, plan_, item.weight, item.expert, rank_);
    const uint32_t begin = std::max(task.row_begin, range.begin), end = std::min(task.row_end, range.end);
    if (begin >= end) return;
    kernels::PackRows(matrix, out, begin - range.begin, end - begin,
                      task.src + (begin - task.row_begin) * row_bytes, row_bytes);
  }

 private:
  const proto::ModelSpec& spec_;
  const proto::ShardPlan& plan_;
  const WeightStore& store_;
  const int rank_;
};

uint64_t BlockBytes(const proto::ModelSpec& spec, int ranks_on_host) {
  uint64_t bytes = std::clamp<uint64_t>(kStagingBytes / (2ull * ranks_on_host), 256 << 10, 8 << 20);
  for (const proto::Weight& w : spec.weights()) {
    const auto& info = kernels::Info(static_cast<kernels::WeightType>(w.type()));
    bytes = std::max(bytes, kRowStep * kernels::RowBytes(info, w.cols()));
  }
  return bytes;
}

std::optional<Error> Try(const std::function<void()>& body) {
  try {
    body();
    return std::nullopt;
  } catch (const Error& e) {
    return e;
  }
}

}  // namespace

LoadStats LoadWeights(comm::Communicator& comm, const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                      const WeightStore& store, int plan_rank, const LoadProgress& progress) {
  const auto start = std::chrono::steady_clock::now();
  comm.SetStage("load");
  Files files(spec);
  std::optional<Error> error = Try([&] { files.Open(); });
  comm.Agree("opening the model's files", error ? &*error : nullptr);

  const int readers = comm.ranks_on_host(), me = comm.rank_on_host();
  const uint64_t block_bytes = BlockBytes(spec, readers);
  const std::vector<ReadBlock> blocks = MakeReadList(spec, block_bytes);
  const size_t rounds = DivUp(blocks.size(), readers);
  auto staging = comm.AllocateShared(2 * block_bytes);
  const auto buffer = [&](int reader, size_t round) {
    return staging.part[reader] + (round % 2) * block_bytes;
  };

  LoadStats stats;
  uint64_t total = 0, done = 0;
  for (const ReadBlock& block : blocks) total += block.bytes;
  const Packer packer(spec, plan, store, plan_rank);

  // Reads this rank's block of a round. A failure is kept, not thrown: the other ranks are on their way to a
  // barrier, so all go through all rounds and agree at the end.
  const auto read = [&](size_t round) {
    const size_t b = round * readers + me;
    if (b >= blocks.size() || error) return;
    error = Try([&] { files.Read(blocks[b], buffer(me, round)); });
    if (!error) stats.bytes_read += blocks[b].bytes;
  };

  read(0);
  for (size_t round = 0; round < rounds; ++round) {
    // After this barrier the round's blocks are there, and the other buffer is free: its packing came before.
    comm.HostBarrier();
    std::future<void> next;
    if (round + 1 < rounds) next = std::async(std::launch::async, read, round + 1);

    std::vector<PackTask> tasks;
    for (int r = 0; r < readers && round * readers + r < blocks.size(); ++r) {
      const ReadBlock& block = blocks[round * readers + r];
      done += block.bytes;
      for (const ReadItem& item : block.items)
        packer.Split(item, buffer(r, round) + item.offset_in_block, &tasks);
    }
#pragma omp parallel for schedule(dynamic)
    for (size_t t = 0; t < tasks.size(); ++t) packer.Pack(tasks[t]);  // NOLINT(modernize-loop-convert)

    if (next.valid()) next.wait();
    if (progress && comm.rank() == 0) progress(done, total);
  }
  comm.HostBarrier();
  files.DropAll();
  // Give the staging memory back now; the buffer itself lives as long as the communicator.
  (void)madvise(staging.part[me], staging.bytes_per_rank, MADV_REMOVE);
  comm.Agree("reading the weights", error ? &*error : nullptr);
  stats.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return stats;
}

}  // namespace onecopy::shard
