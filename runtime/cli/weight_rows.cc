#include "runtime/cli/weight_rows.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <optional>

#include "proto/plan.pb.h"
#include "runtime/base/check.h"
#include "runtime/base/current_error.h"
#include "runtime/base/printable.h"
#include "runtime/shard/assemble.h"
#include "runtime/shard/source.h"

namespace onecopy::cli {
namespace {

// Read at once; a few rows of a very wide matrix may be more.
constexpr uint64_t kMostBlockBytes = 32 << 20;

// Every row to this one reader.
proto::ShardPlan WholeWeight() {
  proto::ShardPlan plan;
  plan.set_ranks(1);
  plan.add_placements()->set_axis(proto::WeightPlacement::REPLICATED);
  return plan;
}

}  // namespace

void WeightRows::Free::operator()(uint8_t* p) const {
  std::free(p);
}

WeightRows::Buffer WeightRows::Allocate(uint64_t bytes) {
  auto* buffer = static_cast<uint8_t*>(std::aligned_alloc(FileReader::kAlign, bytes));
  if (buffer == nullptr)
    Fail(ErrorCode::kNoMemory, "expected {} bytes of memory for a buffer, found less", bytes);
  return Buffer(buffer);
}

WeightRows::WeightRows(const proto::ModelSpec& spec, const std::vector<FileStamp>& stamps,
                       const exec::ThreadTeam& team)
    : spec_(spec), team_(team), files_(spec) {
  if (const std::string missing = files_.Open(&stamps); !missing.empty())
    Fail(ErrorCode::kBadInput, "{}: no such file", missing);
  for (int t = 0; t < team.size(); ++t) scratch_.push_back(Allocate(shard::ModelFiles::ScratchBytes()));
}

const uint8_t* WeightRows::ReadBlock(const shard::ReadBlock& block) {
  const uint64_t bytes = FileReader::BufferBytes(block.bytes);
  if (bytes > buffer_bytes_) {
    buffer_.reset();
    buffer_ = Allocate(bytes);
    buffer_bytes_ = bytes;
  }
  const std::vector<shard::ReadChunk> chunks = shard::ChunksOf(block);
  std::mutex mutex;
  std::optional<Error> error;
  team_.For(chunks.size(), [&](size_t i, int thread) {
    try {
      files_.Read(block, chunks[i], buffer_.get(), scratch_[thread].get());
    } catch (...) {  // nothing may leave a parallel region
      const std::lock_guard lock(mutex);
      error = CurrentError("reading the model's files");
    }
  });
  if (error) throw Error(*error);
  return shard::BlockData(block, buffer_.get());
}

void WeightRows::Read(const proto::Weight& weight, const Use& use) {
  ONECOPY_CHECK(!shard::IsAssembled(weight) || !shard::LinesAreColumns(weight));
  proto::ModelSpec one;
  *one.add_weights() = weight;
  const uint64_t row_bytes = kernels::RowBytes(shard::FileInfo(weight), weight.cols());
  for (const shard::ReadBlock& block : shard::MakeReadList(one, WholeWeight(), {0}, kMostBlockBytes)) {
    const uint8_t* data = ReadBlock(block);
    for (const shard::ReadItem& item : block.items) {
      const uint32_t rows = item.row_end - item.row_begin;
      if (!shard::IsAssembled(weight)) {
        use(data + item.offset_in_block, rows, item.row_bytes);
        continue;
      }
      assembled_.resize(rows * row_bytes);
      const auto cols = static_cast<uint32_t>(weight.cols());
      std::atomic<const char*> problem = nullptr;
      team_.For(DivUp(rows, shard::kRowStep), [&](size_t step, int) {
        const uint32_t begin = item.row_begin + static_cast<uint32_t>(step) * shard::kRowStep;
        const uint32_t end = std::min(item.row_end, begin + shard::kRowStep);
        const char* found = shard::AssembleRows(weight, item, data, begin, end, 0, cols,
                                                assembled_.data() + (begin - item.row_begin) * row_bytes);
        if (found != nullptr) problem = found;
      });
      if (problem != nullptr)
        Fail(ErrorCode::kBadInput, "{}: tensor \"{}\": {}", spec_.files(static_cast<int>(weight.file())),
             Printable(weight.name()), problem.load());
      use(assembled_.data(), rows, row_bytes);
    }
  }
}

}  // namespace onecopy::cli
