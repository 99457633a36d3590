// The read list: what one host needs of a model's files, cut into blocks of whole rows, each read once by one rank of
// the host. Pure: every rank can make the list of any host.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "proto/model.pb.h"
#include "proto/plan.pb.h"
#include "runtime/shard/source.h"

namespace onecopy::shard {

// Rows [row_begin, row_end) of one matrix (spec.weights[weight], expert within that entry), as they lie in a block.
struct ReadItem {
  int weight;
  uint32_t expert;
  uint32_t row_begin, row_end;
  uint64_t offset_in_block;
  uint64_t row_bytes;  // of each row in the block, without gaps between rows
  uint64_t
      first_byte;  // of the file's row at which it begins there; not 0 only where a part of the row is left out
  // Of a weight that is assembled (source.h), in place of the last three: where the lines of each part lie that hold these
  // rows, or, where lines are columns, columns [col_begin, col_end) of all rows. Weights that take turns in a tensor have
  // an item each in the same block, over the same bytes.
  uint32_t col_begin = 0, col_end = 0;
  std::array<uint64_t, kMaxParts> part_offsets = {};
};

// `runs` runs of `bytes` bytes, their beginnings `stride` apart: parts of rows. One run otherwise.
struct FilePiece {
  uint32_t file;
  uint64_t offset;
  uint64_t bytes;
  uint32_t runs = 1;
  uint64_t stride = 0;
};

// What one rank reads at once: pieces in file order, all runs one behind the other in the buffer.
struct ReadBlock {
  uint64_t bytes = 0;
  std::vector<FilePiece> pieces;
  std::vector<ReadItem> items;
};

// Rows are split at multiples of this from the first row needed, so that no row tile is ever split.
inline constexpr uint32_t kRowStep = 32;
// A gap of at most this is read rather than skipped: storage reads whole pages anyway.
inline constexpr uint64_t kMaxGapBytes = 4096;
// From a matrix that is cut by columns whole rows are read, unless so much of each row is another host's. Storage reads
// whole pages, and every run is a request of its own: reading half of each row took 4.1 times as long as reading all where
// a half was 4 KiB, 1.5 times with 16 KiB, 0.95 with 32 KiB and 0.76 with 64 KiB (direct reads of 1.3 GB/s, 4 threads).
// A row of an expert is a few hundred bytes to a few KiB, so of experts whole rows are read.
inline constexpr uint64_t kMinSkippedRowBytes = 32 << 10;

// Every row that a rank of `plan_ranks` (the host's, as the plan numbers them) owns some of is in exactly one item, and
// so is every replicated vector; rows that none of them needs are in none. Of a row in a matrix that is cut by columns
// the other hosts' part is left out where it is at least min_skipped_row_bytes; of weights that are assembled whole lines
// are read. Blocks of at most max_block_bytes (more
// only where kRowStep rows of a tensor are more), in file order.
std::vector<ReadBlock> MakeReadList(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                                    const std::vector<int>& plan_ranks, uint64_t max_block_bytes,
                                    uint64_t min_skipped_row_bytes = kMinSkippedRowBytes);

}  // namespace onecopy::shard
