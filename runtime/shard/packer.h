// Packer: cuts this rank's rows or columns out of blocks of the model's files and packs them into its weight store, where
// the spec says so quantised: whole blocks of the new type, of which the shard's columns are cut out as from a file of it.
// Different tasks may be packed by different threads at once.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "proto/model.pb.h"
#include "proto/plan.pb.h"
#include "runtime/base/error.h"
#include "runtime/shard/read_list.h"
#include "runtime/shard/weight_store.h"

namespace onecopy::shard {

// A piece of work for one thread: rows [row_begin, row_end) of an item, a multiple of kRowStep from its start.
struct PackTask {
  const ReadItem* item;
  uint32_t row_begin, row_end;
  const uint8_t* src;  // row row_begin; of a weight that is assembled, the block
};

class Packer {
 public:
  // All outlive this. rank: as the plan numbers it.
  Packer(const proto::ModelSpec& spec, const proto::ShardPlan& plan, const WeightStore& store, int rank)
      : spec_(spec), plan_(plan), store_(store), rank_(rank) {}

  // Cuts an item of a block into tasks of about half a megabyte.
  void Split(const ReadItem& item, const uint8_t* block, std::vector<PackTask>* tasks) const;

  void Pack(const PackTask& task) const;
  // What was wrong with the data of some weight that has been packed. kBadInput.
  std::optional<Error> error() const;
  // Where Pack writes in the store's arena; empty where this rank owns none of the rows, or of a replicated vector.
  std::span<const uint8_t> Target(const PackTask& task) const;

 private:
  // What of a matrix task is this rank's: rows [begin, end) of the task, which come first_row rows after the shard's
  // first one.
  struct Part {
    uint32_t begin = 0, end = 0, first_row = 0;
  };
  Part OwnPart(const PackTask& task) const;
  void PackByBuffer(const PackTask& task, const Part& part) const;
  const uint8_t* RowAt(const PackTask& task, uint32_t row, uint64_t block) const;
  void Report(const proto::Weight& weight, const char* problem) const;

  const proto::ModelSpec& spec_;
  const proto::ShardPlan& plan_;
  const WeightStore& store_;
  const int rank_;
  mutable std::mutex mutex_;
  mutable std::optional<Error> error_;
};

}  // namespace onecopy::shard
