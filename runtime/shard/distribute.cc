#include "runtime/shard/distribute.h"

#include <algorithm>
#include <future>

#include "runtime/base/check.h"

namespace onecopy::shard {

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
                 std::vector<uint8_t*> buffers)
    : comm_(comm), files_(files), shipments_(std::move(shipments)), buffers_(std::move(buffers)) {}

void Shipper::Read(size_t shipment) {
  if (error_) return;
  try {
    files_.Read(*shipments_[shipment].block, buffers_[shipment % 2]);
  } catch (const Error& e) {
    error_ = e;
  }
}

void Shipper::ShipUpTo(size_t round) {
  while (next_ < shipments_.size() && shipments_[next_].round <= round) {
    if (next_ == 0) Read(0);
    const Shipment& now = shipments_[next_];
    std::future<void> reading;  // its destructor waits, also where Send throws
    if (next_ + 1 < shipments_.size())
      reading = std::async(std::launch::async, [this, next = next_ + 1] { Read(next); });
    comm_.Send({buffers_[next_ % 2], now.block->bytes}, now.to);
    bytes_sent_ += now.block->bytes;
    if (reading.valid()) reading.wait();
    ++next_;
  }
}

}  // namespace onecopy::shard
