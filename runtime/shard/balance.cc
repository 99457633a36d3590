#include "runtime/shard/balance.h"

#include <array>

#include "runtime/base/error.h"

namespace onecopy::shard {

std::optional<Balance> ParseBalance(std::string_view text) {
  constexpr std::array<std::string_view, 3> kNames = {"even", "memory", "bandwidth"};
  for (size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == text) return static_cast<Balance>(i);
  return std::nullopt;
}

std::vector<double> SharesOf(Balance balance, const std::vector<RankMeans>& ranks, uint64_t reserve) {
  if (balance == Balance::kEven) return {};
  std::vector<double> shares;
  for (size_t r = 0; r < ranks.size(); ++r) {
    const RankMeans& rank = ranks[r];
    if (balance == Balance::kMemory && rank.available_bytes <= reserve)
      Fail(ErrorCode::kNoMemory,
           "--balance memory: rank {} has {} bytes of memory available, and needs {} beside its weights; "
           "free memory on "
           "its node, or leave the node out with --nodes",
           r, rank.available_bytes, reserve);
    if (balance == Balance::kBandwidth && !(rank.read_bandwidth > 0))
      Fail(ErrorCode::kUsage, "--balance bandwidth: the read bandwidth of rank {} is not known", r);
    shares.push_back(balance == Balance::kMemory ? static_cast<double>(rank.available_bytes - reserve)
                                                 : rank.read_bandwidth);
  }
  return shares;
}

}  // namespace onecopy::shard
