// Loader: reads a model's weights once, cooperatively. Each host reads what its own ranks need: they read different
// blocks into a shared staging buffer; each then cuts its own rows or columns out of every block, packed into its
// arena. While ranks pack one round of blocks, the next three are being read, around the page cache where they are not in
// it (base/file_reader.h). A host without the files receives its blocks through MPI (distribute.h). Nothing of the files
// stays in the page cache.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "runtime/base/file_stamp.h"
#include "runtime/comm/communicator.h"
#include "runtime/shard/weight_store.h"

namespace onecopy::shard {

struct LoadStats {
  uint64_t bytes_read = 0;      // by this rank from files, also for other hosts
  uint64_t bytes_received = 0;  // by this rank from other hosts
  double seconds = 0;
};

struct LoadOptions {
  // Hosts without the files get their part from those that have them; otherwise that is an error.
  bool distribute = false;
  // On rank 0, which has read their headers: what the files were then. Null elsewhere.
  const std::vector<FileStamp>* stamps = nullptr;
  // Called on rank 0 only, from the loading thread, with bytes done and bytes in all: what its host loads, then what
  // this rank sends.
  std::function<void(uint64_t done, uint64_t total)> progress = nullptr;
};

// Staging memory of a host, shared by its ranks and given back after the load.
inline constexpr uint64_t kStagingBytes = 64ull << 20;

// Collective over all ranks, on the thread that owns comm; store is this rank's, and holds what plan_rank of the plan
// owns (the rank itself, unless every rank holds a copy). Uses OpenMP's threads to pack, and 4 to 16 of its own to read.
// Errors, on every rank: kBadInput where a host lacks a file, or one cannot be read, or is not what it was when its headers
// were read, or is written to or replaced meanwhile.
LoadStats LoadWeights(comm::Communicator& comm, const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                      const WeightStore& store, int plan_rank, const LoadOptions& options = {});

}  // namespace onecopy::shard
