// doctor: tries out and reads what report/doctor judges, on the first rank of the host it runs on.
#include <sys/statvfs.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "kernels/isa.h"
#include "kernels/registry.h"
#include "runtime/base/error.h"
#include "runtime/cli/command.h"
#include "runtime/numa/arena.h"
#include "runtime/numa/places.h"
#include "runtime/numa/residency.h"
#include "runtime/numa/topology.h"
#include "runtime/report/doctor.h"

namespace onecopy::cli {
namespace {

// First line of mpirun's version, empty where it cannot be run.
std::string MpirunVersion() {
  std::FILE* pipe = popen("mpirun --version 2>/dev/null", "r");
  if (pipe == nullptr) return "";
  std::array<char, 256> line{};
  std::string version = std::fgets(line.data(), line.size(), pipe) != nullptr ? line.data() : "";
  while (std::fgets(line.data(), line.size(), pipe) != nullptr) {  // else mpirun meets a closed pipe
  }
  if (pclose(pipe) != 0) return "";
  version.erase(version.find_last_not_of("\r\n") + 1);
  return version;
}

// Binds a page to a node and asks where it lies, as loading does with every page.
std::string TryPlacement(const numa::Topology& topology) {
  const auto places = numa::FindPlaces(topology);
  if (places.empty() || !topology.sysfs_numa) return "";
  constexpr uint64_t kProbeBytes = 4096;
  try {
    const numa::Arena arena("doctor's probe", kProbeBytes, places.back().id);
    arena.data()[0] = 1;
    const numa::Residency residency = numa::AuditResidency(arena.data(), arena.bytes());
    if (residency.resident_bytes > 0 && residency.ShareOn(places.back().id) == 1) return "";
    return fmt::format("a page bound to node {} does not lie there", places.back().id);
  } catch (const Error& e) {
    return e.what();
  }
}

std::optional<uint64_t> SharedMemoryBytes() {
  struct statvfs info {};
  if (statvfs("/dev/shm", &info) != 0) return std::nullopt;
  return uint64_t{info.f_bavail} * info.f_frsize;
}

report::DoctorInput Gather() {
  report::DoctorInput input;
  input.topology = numa::ReadTopology();
  const char* forced = std::getenv("ONECOPY_KERNELS");
  const kernels::KernelTable* chosen =
      kernels::SelectTable(forced != nullptr ? forced : "", &input.kernel_error);
  for (const kernels::TableEntry& entry : kernels::AllTables()) {
    const bool is_chosen = chosen != nullptr && std::string(chosen->name) == entry.name;
    input.kernels.push_back({entry.name, entry.requires_isa, entry.supported(), is_chosen});
  }
  for (const kernels::IsaFeature& feature : kernels::IsaFeatures()) {
    (feature.present ? input.isa_present : input.isa_absent).emplace_back(feature.name);
  }
  input.mpirun_version = MpirunVersion();
  input.shm_bytes = SharedMemoryBytes();
  input.placement_error = TryPlacement(input.topology);
  return input;
}

}  // namespace

Command DoctorCommand() {
  auto json = std::make_shared<bool>(false);
  Command command;
  command.name = "doctor";
  command.summary = "show what this machine offers, and what to mend";
  command.examples =
      "  launch/onecopy doctor\n"
      "  launch/onecopy doctor --json";
  command.add_options = [json](CLI::App* app) {
    app->add_flag("--json", *json, "one JSON object instead of text");
  };
  command.run = [json](comm::Communicator& comm, const Seat&) {
    OnFirstRank(comm, "doctor", [&] {
      const report::DoctorInput input = Gather();
      const report::Diagnosis diagnosis = report::Diagnose(input);
      Print(*json ? report::DoctorJson(input, diagnosis) : report::DoctorText(input, diagnosis));
    });
  };
  return command;
}

}  // namespace onecopy::cli
