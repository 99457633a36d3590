// Binding by sched_setaffinity(2) and set_mempolicy(2), each read back: the kernel cuts a CPU set down to the
// cpuset without an error, so success of the call proves nothing.
#include "runtime/numa/binding.h"

#include <fmt/format.h>
#include <numaif.h>
#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "runtime/base/error.h"
#include "runtime/numa/policy.h"
#include "runtime/numa/sysfs.h"

namespace onecopy::numa {
namespace {

// cpu_set_t has 1024 bits; Linux can be built for 8192 CPUs.
constexpr size_t kMaxCpus = 8192;

class CpuSet {
 public:
  CpuSet() : set_(CPU_ALLOC(kMaxCpus)) { CPU_ZERO_S(Bytes(), set_); }
  ~CpuSet() { CPU_FREE(set_); }
  CpuSet(const CpuSet&) = delete;
  CpuSet& operator=(const CpuSet&) = delete;

  static size_t Bytes() { return CPU_ALLOC_SIZE(kMaxCpus); }
  cpu_set_t* get() { return set_; }
  void Add(int cpu) { CPU_SET_S(static_cast<size_t>(cpu), Bytes(), set_); }
  std::vector<int> List() const {
    std::vector<int> cpus;
    for (size_t cpu = 0; cpu < kMaxCpus; ++cpu) {
      if (CPU_ISSET_S(cpu, Bytes(), set_)) cpus.push_back(static_cast<int>(cpu));
    }
    return cpus;
  }

 private:
  cpu_set_t* set_;
};

// `what`: "rank to node 3", for the message.
void BindCpus(std::vector<int> wanted, const std::string& what) {
  std::sort(wanted.begin(), wanted.end());
  CpuSet set;
  for (int cpu : wanted) set.Add(cpu);
  const bool refused = sched_setaffinity(0, CpuSet::Bytes(), set.get()) != 0;
  const int error = errno;
  const std::vector<int> found = CurrentCpus();
  if (refused || found != wanted) {
    Fail(ErrorCode::kCommunication,
         "binding the {}: expected CPUs {}, the kernel allows {}{}; check the cpuset of the "
         "container or job, or run with --bind none",
         what, FormatIdList(wanted), FormatIdList(found),
         refused ? " (" + std::generic_category().message(error) + ")" : "");
  }
}

void BindMemory(const std::vector<int>& nodes) {
  const NodeMask mask(nodes);
  const std::string where = FormatIdList(nodes);
  if (set_mempolicy(MPOL_BIND, mask.words.data(), mask.max_node()) != 0) {
    const int error = errno;
    if (nodes.size() == 1 && RefusalIsHarmless(error, nodes[0])) return;
    Fail(ErrorCode::kCommunication, "binding the memory of this rank to node {}: set_mempolicy: {}", where,
         Explain(error, nodes[0]));
  }
  // get_mempolicy wants room for every node the kernel was built for, at most 1024.
  int mode = -1;
  std::vector<unsigned long> found(std::max<size_t>(1024 / (8 * sizeof(unsigned long)), mask.words.size()));
  if (get_mempolicy(&mode, found.data(), found.size() * 8 * sizeof(unsigned long) + 1, nullptr, 0) != 0) {
    const int error = errno;
    Fail(ErrorCode::kCommunication,
         "reading back the memory binding of this rank to node {}: get_mempolicy: {}", where,
         Explain(error, nodes[0]));
  }
  std::vector<unsigned long> wanted = mask.words;
  wanted.resize(found.size());
  if (mode != MPOL_BIND || found != wanted) {
    Fail(ErrorCode::kCommunication,
         "binding the memory of this rank to node {}: expected policy {} (MPOL_BIND) on these "
         "nodes alone, found policy {}, first nodes {:#x}; another library sets the policy too",
         where, static_cast<int>(MPOL_BIND), mode, found[0]);
  }
}

}  // namespace

std::vector<int> CurrentCpus() {
  CpuSet set;
  if (sched_getaffinity(0, CpuSet::Bytes(), set.get()) != 0) {
    Fail(ErrorCode::kCommunication, "reading the allowed CPUs: sched_getaffinity: {}",
         std::generic_category().message(errno));
  }
  return set.List();
}

void BindProcess(const std::vector<int>& cpus, const std::vector<int>& nodes) {
  BindCpus(cpus, nodes.empty() ? "rank" : "rank to node " + FormatIdList(nodes));
  if (!nodes.empty()) BindMemory(nodes);
}

void PinThread(int cpu) {
  BindCpus({cpu}, fmt::format("thread to CPU {}", cpu));
}

void LetThreadRunOn(const std::vector<int>& cpus) {
  BindCpus(cpus, "thread to CPUs " + FormatIdList(cpus));
}

}  // namespace onecopy::numa
