#include "runtime/shard/distribute.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace onecopy::shard {
namespace {

std::vector<const ReadBlock*> BlocksOf(const std::vector<Shipment>& shipments) {
  std::vector<const ReadBlock*> blocks;
  for (const Shipment& shipment : shipments) blocks.push_back(shipment.block);
  return blocks;
}

}  // namespace

std::vector<int> ChooseSenders(const std::vector<std::vector<int>>& hosts,
                               const std::vector<bool>& has_files) {
  size_t n_ranks = 0, most = 0;
  for (const auto& ranks : hosts) {
    n_ranks += ranks.size();
    most = std::max(most, ranks.size());
  }
  std::vector<int> servers;
  for (size_t i = 0; i < most; ++i)
    for (size_t h = 0; h < hosts.size(); ++h)
      if (has_files[h] && i < hosts[h].size()) servers.push_back(hosts[h][i]);
  ONECOPY_CHECK(!servers.empty());
  std::vector<int> senders(n_ranks, -1);
  size_t next = 0;
  for (size_t h = 0; h < hosts.size(); ++h) {
    if (has_files[h]) continue;
    for (const int rank : hosts[h]) senders[rank] = servers[next++ % servers.size()];
  }
  return senders;
}

Shipper::Shipper(comm::Communicator& comm, const ModelFiles& files, std::vector<Shipment> shipments,
                 std::vector<uint8_t*> buffers, const ReaderThreads& readers)
    : comm_(comm),
      shipments_(std::move(shipments)),
      buffers_(std::move(buffers)),
      reads_(files, BlocksOf(shipments_), buffers_, readers) {}

void Shipper::ShipUpTo(size_t round) {
  for (; next_ < shipments_.size() && shipments_[next_].round <= round; ++next_) {
    const Shipment& now = shipments_[next_];
    reads_.Wait(next_);
    comm_.Send({BlockData(*now.block, buffers_[next_ % buffers_.size()]), now.block->bytes}, now.to);
    reads_.Release(next_ + 1);
    bytes_sent_ += now.block->bytes;
  }
}

}  // namespace onecopy::shard
