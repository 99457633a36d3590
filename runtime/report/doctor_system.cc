#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "runtime/base/sizes.h"
#include "runtime/numa/cgroup.h"
#include "runtime/numa/sysfs.h"
#include "runtime/report/doctor_checks.h"

namespace onecopy::report {
namespace {

using numa::ReadText;

Finding CheckKernels(const CheckInput& input) {
  if (!input.given.kernel_error.empty()) return Bad(input.given.kernel_error, "unset ONECOPY_KERNELS");
  for (const KernelChoice& kernel : input.given.kernels) {
    if (!kernel.chosen) continue;
    if (kernel.name != "ref") return Ok(kernel.name + " (needs " + kernel.requires_isa + ")");
    return Warn("ref: right on any CPU, and slow",
                "use a CPU with AVX2, FMA and F16C, or pass them through to the "
                "virtual machine (qemu: -cpu host); unset ONECOPY_KERNELS where it says ref");
  }
  return Bad("none chosen", "report this as a bug in onecopy");
}

Finding CheckGovernor(const CheckInput& input) {
  std::map<std::string, size_t> cpus_by_governor;
  std::string driver;
  for (const numa::Place& place : input.places) {
    for (const numa::Cpu& cpu : place.cpus) {
      const std::string folder = fmt::format("sys/devices/system/cpu/cpu{}/cpufreq/", cpu.id);
      if (const auto governor = ReadText(input.root(), folder + "scaling_governor"))
        ++cpus_by_governor[*governor];
      if (driver.empty()) driver = ReadText(input.root(), folder + "scaling_driver").value_or("");
    }
  }
  if (cpus_by_governor.empty()) return Ok("not shown (usual in virtual machines)");
  std::string found;
  for (const auto& [governor, cpus] : cpus_by_governor)
    found += fmt::format("{}{} on {} CPUs", found.empty() ? "" : ", ", governor, cpus);
  // With these drivers "powersave" is the ordinary governor: the hardware chooses the frequency.
  const bool hardware_chooses = driver == "intel_pstate" || driver == "amd-pstate-epp";
  const bool slow = cpus_by_governor.count("powersave") != 0 && !hardware_chooses;
  if (!slow && cpus_by_governor.count("conservative") == 0) return Ok(found + ", driver " + driver);
  return Warn(found + ", driver " + driver, "sudo cpupower frequency-set -g performance");
}

Finding CheckCgroupCpus(const CheckInput& input) {
  const double cpus = numa::ReadCgroupLimits(input.root()).cpus;
  if (std::isinf(cpus)) return Ok("no limit");
  const size_t cores = input.TotalCores();
  const std::string found = fmt::format("{:.1f} CPUs of time for {} cores", cpus, cores);
  if (cpus >= static_cast<double>(cores)) return Ok(found);
  return Warn(
      found + ": ranks are stopped in turns and wait for each other",
      "lift the quota (docker --cpus, Kubernetes limits.cpu) and limit by CPU set instead, or start with "
      "fewer --threads");
}

// Slurm gives megabytes as bare numbers.
std::string Megabytes(const std::string& text) {
  const bool number =
      !text.empty() && text.find_first_not_of("0123456789") == std::string::npos && text.size() < 13;
  return number ? FormatBytes(std::stoull(text) << 20) : text;
}

Finding CheckSlurm(const CheckInput& input) {
  const auto& environment = input.given.environment;
  const auto get = [&](const char* name) {
    const auto it = environment.find(name);
    return it == environment.end() ? std::string() : it->second;
  };
  if (get("SLURM_JOB_ID").empty()) return Ok("not in a Slurm job");
  std::vector<std::string> parts = {"job " + get("SLURM_JOB_ID")};
  const auto add = [&](const char* format, const std::string& value) {
    if (!value.empty()) parts.push_back(fmt::format(fmt::runtime(format), value));
  };
  add("hosts {}", get("SLURM_JOB_NODELIST"));
  add("{} CPUs on this host", get("SLURM_CPUS_ON_NODE"));
  add("{} tasks", get("SLURM_NTASKS"));
  add("{} CPUs a task", get("SLURM_CPUS_PER_TASK"));
  add("{} of memory a host", Megabytes(get("SLURM_MEM_PER_NODE")));
  add("{} of memory a CPU", Megabytes(get("SLURM_MEM_PER_CPU")));
  const std::string found = fmt::format("{}", fmt::join(parts, ", "));
  // A job step of one task has one task's CPUs; the job may have all.
  const std::string on_node = get("SLURM_CPUS_ON_NODE");
  size_t cpus = 0;
  for (const numa::Place& place : input.places) cpus += place.cpus.size();
  if (on_node.empty() || on_node.find_first_not_of("0123456789") != std::string::npos || on_node.size() > 6 ||
      cpus >= std::stoull(on_node))
    return Ok(found);
  return Warn(fmt::format("{}; this process may use {} CPUs of them", found, cpus),
              fmt::format("start {} from the batch script itself (not under srun), or with srun --ntasks=1 "
                          "--cpus-per-task=$SLURM_CPUS_ON_NODE",
                          input.given.launcher));
}

Finding CheckMpi(const CheckInput& input) {
  const std::string& version = input.given.mpirun_version;
  if (version.empty())
    return Bad("mpirun is not found: only one rank can run",
               "apt-get install openmpi-bin, or put Open MPI's bin folder into PATH");
  if (version.find("Open MPI") == std::string::npos && version.find("OpenRTE") == std::string::npos)
    return Warn(fmt::format("{}: {} knows Open MPI's options only", version, input.given.launcher),
                "sudo update-alternatives --config mpirun, or install openmpi-bin");
  return Ok(version);
}

// What launch/onecopy asks for between ranks of one host: pml ob1 over btl self and shared memory, which is called sm
// from Open MPI 5 on and vader before.
Finding CheckMpiTransports(const CheckInput& input) {
  const auto& components = input.given.mpi_components;
  if (components.empty()) return Ok("not shown (ompi_info is not installed)");
  const auto has = [&](const char* name) {
    return std::find(components.begin(), components.end(), name) != components.end();
  };
  std::vector<std::string> missing;
  if (!has("pml ob1")) missing.emplace_back("pml ob1");
  if (!has("btl self")) missing.emplace_back("btl self");
  if (!has("btl vader") && !has("btl sm")) missing.emplace_back("btl vader or sm");
  const std::string all = fmt::format("{}", fmt::join(components, ", "));
  if (missing.empty())
    return Ok(fmt::format("pml ob1, btl self and {} on one host; there are {}",
                          has("btl sm") ? "sm" : "vader", all));
  return Warn(
      fmt::format("{} missing, which {} selects on one host; there are {}", fmt::join(missing, " and "),
                  input.given.launcher, all),
      fmt::format("install the Open MPI of the distribution (openmpi-bin), or start mpirun yourself as {} "
                  "--dry-run shows, with other --mca",
                  input.given.launcher));
}

constexpr Check kSystemChecks[] = {
    {"kernels", CheckKernels}, {"governor", CheckGovernor}, {"cgroup_cpus", CheckCgroupCpus},
    {"slurm", CheckSlurm},     {"mpi", CheckMpi},           {"mpi_transports", CheckMpiTransports},
};

}  // namespace

std::span<const Check> SystemChecks() {
  return kSystemChecks;
}

}  // namespace onecopy::report
