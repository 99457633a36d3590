#include "runtime/numa/policy.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

#include "runtime/numa/sysfs.h"

namespace onecopy::numa {
namespace {
constexpr size_t kWordBits = 8 * sizeof(unsigned long);
}

NodeMask::NodeMask(const std::vector<int>& nodes) {
  for (const int node : nodes) {
    const size_t word = static_cast<size_t>(node) / kWordBits;
    if (words.size() <= word) words.resize(word + 1);
    words[word] |= 1ul << (static_cast<size_t>(node) % kWordBits);
  }
}

std::vector<int> MemoryNodes() {
  const char* path = "sys/devices/system/node/has_memory";
  const auto text = ReadText("", path);
  return text ? ParseIdList(*text, path) : std::vector<int>{0};
}

bool RefusalIsHarmless(int error, int node) {
  return (error == EPERM || error == ENOSYS) && MemoryNodes() == std::vector<int>{node};
}

std::string Explain(int error, int node) {
  std::string reason = std::generic_category().message(error);
  switch (error) {
    case EPERM:
      return reason +
             "; the container forbids it: allow the system calls set_mempolicy, mbind, get_mempolicy and "
             "move_pages (docker run --cap-add SYS_NICE, in Kubernetes capabilities.add [\"SYS_NICE\"], or a "
             "seccomp "
             "profile that lists them), or run with --bind none";
    case ENOSYS:
      return reason + "; this kernel is built without CONFIG_NUMA: run with --bind none";
    case EINVAL:
      return fmt::format(
          "{}; node {} is not one of the nodes with memory that this process may use (those with memory: "
          "{}; allowed: Mems_allowed_list in /proc/self/status)",
          reason, node, FormatIdList(MemoryNodes()));
    case ENOMEM:
      return fmt::format(
          "{}; free memory on node {}, raise the limits of this process (ulimit -v, its cgroup, "
          "vm.max_map_count), or use a "
          "smaller model or --context",
          reason, node);
    default:
      return reason;
  }
}

}  // namespace onecopy::numa
