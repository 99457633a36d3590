// Balance: how large a part of the model each rank gets. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace onecopy::shard {

enum class Balance {
  kEven,       // equal parts
  kMemory,     // by what each rank's node has available
  kBandwidth,  // by read bandwidth, so that all ranks end a step together
};

// "even", "memory", "bandwidth"; nothing for another text.
std::optional<Balance> ParseBalance(std::string_view text);

// What a rank's place offers.
struct RankMeans {
  uint64_t available_bytes = 0;  // of memory, for this rank
  double read_bandwidth = 0;     // bytes a second
};

// PlanOptions::shares for these ranks; empty for kEven. reserve: bytes of each rank that are not weights (workspace,
// process), which are the same whatever its share. Errors: kNoMemory where a rank has no memory beyond the reserve,
// kUsage where a bandwidth is not known.
std::vector<double> SharesOf(Balance balance, const std::vector<RankMeans>& ranks, uint64_t reserve);

}  // namespace onecopy::shard
