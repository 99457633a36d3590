// Packer: cuts this rank's rows or columns out of blocks of the model's files and packs them into its weight store.
// Immutable; different tasks may be packed by different threads at once.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "proto/model.pb.h"
#include "proto/plan.pb.h"
#include "runtime/shard/read_list.h"
#include "runtime/shard/weight_store.h"

namespace onecopy::shard {

// A piece of work for one thread: rows [row_begin, row_end) of an item, a multiple of kRowStep from its start.
struct PackTask {
  const ReadItem* item;
  uint32_t row_begin, row_end;
  const uint8_t* src;  // row row_begin
};

class Packer {
 public:
  // All outlive this. rank: as the plan numbers it.
  Packer(const proto::ModelSpec& spec, const proto::ShardPlan& plan, const WeightStore& store, int rank)
      : spec_(spec), plan_(plan), store_(store), rank_(rank) {}

  // Cuts an item, whose first row is at src, into tasks of about half a megabyte.
  static void Split(const ReadItem& item, const uint8_t* src, std::vector<PackTask>* tasks);

  void Pack(const PackTask& task) const;
  // Where Pack writes in the store's arena; empty where this rank owns none of the rows, or of a replicated vector.
  std::span<const uint8_t> Target(const PackTask& task) const;

 private:
  // What of a matrix task is this rank's: rows [begin, end) of the task, which come first_row rows after the shard's
  // first one.
  struct Part {
    uint32_t begin = 0, end = 0, first_row = 0;
  };
  Part OwnPart(const PackTask& task) const;

  const proto::ModelSpec& spec_;
  const proto::ShardPlan& plan_;
  const WeightStore& store_;
  const int rank_;
};

}  // namespace onecopy::shard
