// doctor: tries out and reads what report/doctor judges, on the first rank of the host it runs on.
#include <sys/statvfs.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/isa.h"
#include "kernels/registry.h"
#include "runtime/base/error.h"
#include "runtime/base/launcher.h"
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
  // NOLINTNEXTLINE(cert-env33-c): a constant, for the shell to look up and to silence
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

// "pml ob1", "btl self", …; empty where ompi_info cannot be run.
std::vector<std::string> MpiComponents() {
  // NOLINTNEXTLINE(cert-env33-c): as above
  std::FILE* pipe = popen("ompi_info --parsable 2>/dev/null", "r");
  if (pipe == nullptr) return {};
  std::vector<std::string> found;
  std::array<char, 1024> line{};
  while (std::fgets(line.data(), line.size(), pipe) != nullptr) {
    // "mca:pml:ob1:version:…"
    std::istringstream fields(line.data());
    std::string mca, kind, name;
    std::getline(fields, mca, ':');
    std::getline(fields, kind, ':');
    std::getline(fields, name, ':');
    if (mca != "mca" || (kind != "pml" && kind != "btl")) continue;
    const std::string component = kind + " " + name;
    if (std::find(found.begin(), found.end(), component) == found.end()) found.push_back(component);
  }
  pclose(pipe);
  return found;
}

std::map<std::string, std::string> SlurmVariables() {
  std::map<std::string, std::string> variables;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string text = *entry;
    const size_t equals = text.find('=');
    if (text.rfind("SLURM_", 0) == 0 && equals != std::string::npos)
      variables[text.substr(0, equals)] = text.substr(equals + 1);
  }
  return variables;
}

std::optional<uint64_t> SharedMemoryBytes() {
  struct statvfs info {};
  if (statvfs("/dev/shm", &info) != 0) return std::nullopt;
  return uint64_t{info.f_bavail} * info.f_frsize;
}

report::DoctorInput Gather(bool measure) {
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
  input.mpi_components = MpiComponents();
  input.environment = SlurmVariables();
  input.launcher = LauncherName();
  input.placement_error = TryPlacement(input.topology);
  if (measure) {
    const auto places = numa::FindPlaces(input.topology);
    // Seconds: what a user waits for, and what a machine of many emulated nodes may take.
    const double budget = places.size() <= 2 ? 2.5 : 8;
    input.bandwidths = report::MeasureNodeBandwidths(input.topology, places, {.budget_seconds = budget});
  }
  return input;
}

}  // namespace

Command DoctorCommand() {
  struct DoctorOptions {
    bool json = false, no_measure = false;
  };
  auto options = std::make_shared<DoctorOptions>();
  Command command;
  command.name = "doctor";
  command.summary = "show what this machine offers, and what to mend";
  command.examples =
      "  onecopy doctor\n"
      "  onecopy doctor --no-measure --json\n";
  command.add_options = [options](CLI::App* app) {
    app->add_flag("--json", options->json, "one JSON object instead of text");
    app->add_flag("--no-measure", options->no_measure,
                  "do not measure how fast nodes read their and others' memory");
  };
  command.run = [options](comm::Communicator& comm, const Seat&) {
    OnFirstRank(comm, "doctor", [&] {
      const report::DoctorInput input = Gather(!options->no_measure);
      const report::Diagnosis diagnosis = report::Diagnose(input);
      Print(options->json ? report::DoctorJson(input, diagnosis) : report::DoctorText(input, diagnosis));
    });
  };
  return command;
}

}  // namespace onecopy::cli
