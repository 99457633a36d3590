// Fills a rank's region with who it is.
#include "runtime/comm/shm_region.h"

#include <sched.h>
#include <unistd.h>

#include <bit>
#include <new>

namespace onecopy::comm {

std::string HostName() {
  char name[256] = {};
  if (gethostname(name, sizeof(name) - 1) != 0) return "unknown host";
  return name;
}

void InitRegion(uint8_t* region, int world_rank, int socket) {
  auto* header = new (region) RankHeader;
  header->world_rank = world_rank;
  header->socket = socket;
  header->process = ThisProcess();
  const std::string host = HostName();
  memcpy(header->host, host.data(), std::min(host.size(), sizeof(header->host) - 1));
  // Machines with more than 8192 possible CPUs fail here and leave the mask empty.
  if (sched_getaffinity(0, sizeof(header->cpus), reinterpret_cast<cpu_set_t*>(header->cpus)) != 0) {
    memset(header->cpus, 0, sizeof(header->cpus));
  }
}

int CountCpus(const std::vector<uint8_t*>& regions) {
  int count = 0;
  for (size_t i = 0; i < sizeof(RankHeader::cpus); ++i) {
    uint8_t any = 0;
    for (uint8_t* region : regions) any |= Header(region)->cpus[i];
    count += std::popcount(any);
  }
  return count > 0 ? count : static_cast<int>(sysconf(_SC_NPROCESSORS_ONLN));
}

}  // namespace onecopy::comm
