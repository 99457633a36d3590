// The read list: a model's files cut into blocks of whole rows, each read once by one rank of a host. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "proto/model.pb.h"

namespace onecopy::shard {

// Rows [row_begin, row_end) of one matrix (spec.weights[weight], expert within that entry).
struct ReadItem {
  int weight;
  uint32_t expert;
  uint32_t row_begin, row_end;
  uint64_t offset_in_block;
};

// A contiguous range of a file. Items lie in it in file order; gaps between tensors (alignment) are read with
// them.
struct ReadBlock {
  uint32_t file;
  uint64_t offset;
  uint64_t bytes;
  std::vector<ReadItem> items;
};

// Rows are split at multiples of this, so that no row tile is ever split.
inline constexpr uint32_t kRowStep = 32;

// Blocks of at most max_block_bytes (more only where kRowStep rows of a tensor are more), in file order.
// Every row of every weight is in exactly one item.
std::vector<ReadBlock> MakeReadList(const proto::ModelSpec& spec, uint64_t max_block_bytes);

}  // namespace onecopy::shard
