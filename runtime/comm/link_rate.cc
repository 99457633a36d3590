// Messages there and back between the first ranks of two hosts; medians, since a network has other users.
#include "runtime/comm/link_rate.h"

#include <algorithm>
#include <cstring>

#include "runtime/comm/wait.h"

namespace onecopy::comm {
namespace {

// The median of `rounds` exchanges of n bytes there and back, halved. On the side that waits first: meaningless.
double OneWaySeconds(Communicator& comm, int peer, bool first, size_t n, int rounds) {
  std::vector<uint8_t> out(n), in(n);
  std::vector<double> seconds;
  for (int i = 0; i < rounds; ++i) {
    const int64_t start_ns = NowNs();
    if (first) comm.Send(out, peer);
    comm.Receive(in, peer);
    if (!first) comm.Send(out, peer);
    seconds.push_back(static_cast<double>(NowNs() - start_ns) * 1e-9 / 2);
  }
  std::nth_element(seconds.begin(), seconds.begin() + rounds / 2, seconds.end());
  return seconds[rounds / 2];
}

}  // namespace

LinkRate MeasureLink(Communicator& comm) {
  constexpr size_t kSmall = 64, kLong = 1 << 20;
  constexpr int kSmallRounds = 21, kLongRounds = 5;
  LinkRate slowest;
  const auto hosts = comm.hosts();
  for (size_t h = 1; h < hosts.size(); ++h) {
    const int a = hosts[0][0], b = hosts[h][0];
    if (comm.rank() == a || comm.rank() == b) {
      const bool first = comm.rank() == a;
      const int peer = first ? b : a;
      OneWaySeconds(comm, peer, first, kSmall, 3);  // connects
      const double small = OneWaySeconds(comm, peer, first, kSmall, kSmallRounds);
      const double large = OneWaySeconds(comm, peer, first, kLong, kLongRounds);
      const double rate = static_cast<double>(kLong) / std::max(large - small, 1e-9);
      if (slowest.bytes_per_second == 0 || rate < slowest.bytes_per_second) slowest.bytes_per_second = rate;
      slowest.seconds = std::max(slowest.seconds, small);
    }
    comm.Barrier();
  }
  std::vector<uint8_t> bytes(sizeof(slowest));
  memcpy(bytes.data(), &slowest, sizeof(slowest));
  comm.Broadcast(&bytes, 0);
  memcpy(&slowest, bytes.data(), sizeof(slowest));
  return slowest;
}

}  // namespace onecopy::comm
