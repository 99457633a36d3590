// doctor: what this machine gives onecopy, and what stands in its way. Each check reads one thing and answers with a
// Finding; what is not a file under the root (system calls tried, programs asked, measurements) the caller puts into
// DoctorInput. Thread-safe; changes nothing on the machine.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runtime/numa/topology.h"
#include "runtime/report/node_bandwidth.h"

namespace onecopy::report {

enum class Level { kOk, kWarn, kError };

struct Finding {
  Level level = Level::kOk;
  std::string topic;   // stable, a key for programs: "numa_balancing"
  std::string found;   // one sentence or less
  std::string advice;  // the command that mends it, or what to change; empty when ok
};

struct KernelChoice {
  std::string name, requires_isa;
  bool supported = false, chosen = false;
};

struct DoctorInput {
  std::string root = "/";  // as in numa::ReadTopology
  numa::Topology topology;
  std::vector<KernelChoice> kernels;
  std::string kernel_error;              // why no table could be chosen; empty: one was
  std::vector<std::string> isa_present;  // "AVX2", …
  std::vector<std::string> isa_absent;
  std::string mpirun_version;               // first line of mpirun --version; empty: not found
  std::vector<std::string> mpi_components;  // "pml ob1", "btl vader", … of ompi_info; empty: not asked
  std::optional<uint64_t> shm_bytes;        // free in /dev/shm; empty: no such file system
  std::string placement_error;  // why binding memory or asking where it lies failed; empty: both work
  std::map<std::string, std::string> environment;  // SLURM_*
  std::string launcher = "launch/onecopy";         // as LauncherName() has it
  NodeBandwidths bandwidths;                       // empty: not measured
};

struct Diagnosis {
  std::string cpu_model;
  size_t ranks = 0;                         // that launch/onecopy would start by default
  size_t threads_min = 0, threads_max = 0;  // a rank
  std::vector<Finding> findings;
};

Diagnosis Diagnose(const DoctorInput& input);

// Text for people; ends in a newline.
std::string DoctorText(const DoctorInput& input, const Diagnosis& diagnosis);

// {"cpu", "isa": {NAME: bool}, "kernels": […], "nodes": […], "ranks", "threads_per_rank": {"min", "max"},
//  "bandwidth": {"pairs": [{"cpus_of", "memory_of", "bytes_per_second" | "why_not"}], "all_at_once": […], "sum"},
//  "findings": [{"level": "ok" | "warn" | "error", "topic", "found", "advice"}]}
std::string DoctorJson(const DoctorInput& input, const Diagnosis& diagnosis);

}  // namespace onecopy::report
