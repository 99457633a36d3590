// Loader: reads a model's weights once per host, cooperatively. The ranks of a host read different blocks
// into a shared staging buffer; each then cuts its own rows or columns out of every block, packed into its
// arena. While ranks pack one round of blocks, the next is being read. Nothing of the files stays in the page
// cache.
#pragma once

#include <cstdint>
#include <functional>

#include "runtime/comm/communicator.h"
#include "runtime/shard/weight_store.h"

namespace onecopy::shard {

struct LoadStats {
  uint64_t bytes_read = 0;  // by this rank
  double seconds = 0;
};

// Called on rank 0 only, from the loading thread, with bytes done and bytes in all (of this host).
using LoadProgress = std::function<void(uint64_t done, uint64_t total)>;

// Staging memory of a host, shared by its ranks and given back after the load.
inline constexpr uint64_t kStagingBytes = 64ull << 20;

// Collective over all ranks; store is this rank's, and holds what plan_rank of the plan owns (the rank itself, unless
// every rank holds a copy). Uses OpenMP's threads to pack.
// Errors: kBadInput, on every rank, where a file cannot be read or is not as long as when its headers were
// read.
LoadStats LoadWeights(comm::Communicator& comm, const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                      const WeightStore& store, int plan_rank, const LoadProgress& progress = nullptr);

}  // namespace onecopy::shard
