#include "runtime/numa/numastat.h"

#include <fmt/format.h>

#include <sstream>

#include "runtime/numa/sysfs.h"

namespace onecopy::numa {

NumaStat ReadNumaStat(int node, const std::string& root) {
  NumaStat stat;
  std::istringstream text(
      ReadText(root, fmt::format("sys/devices/system/node/node{}/numastat", node)).value_or(""));
  std::string key;
  for (uint64_t value; text >> key >> value;) {
    if (key == "numa_hit") stat.hit = value;
    if (key == "numa_miss") stat.miss = value;
    if (key == "numa_foreign") stat.foreign = value;
  }
  return stat;
}

}  // namespace onecopy::numa
