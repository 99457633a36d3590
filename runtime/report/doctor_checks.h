// The checks of doctor, by what they look at: one function each, in a table in each file. Adding one: a function and a
// row. A file that is absent is never an error: containers and virtual machines hide many of them. Internal to report/.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "runtime/numa/places.h"
#include "runtime/report/doctor.h"

namespace onecopy::report {

struct CheckInput {
  const DoctorInput& given;
  std::vector<numa::Place> places;
  std::string cpuinfo;

  const std::string& root() const { return given.root; }
  const numa::Topology& topology() const { return given.topology; }
  size_t TotalCores() const;
  uint64_t TotalMemory() const;  // of the places' own nodes
};

struct Check {
  const char* topic;
  Finding (*run)(const CheckInput&);
};

std::span<const Check> NodeChecks();      // doctor_nodes.cc: nodes, their memory, CPUs and bandwidth
std::span<const Check> FirmwareChecks();  // doctor_firmware.cc: how the firmware cut the sockets
std::span<const Check> MemoryChecks();    // doctor_memory.cc: pages, balancing, swap, limits of memory
std::span<const Check> SystemChecks();    // doctor_system.cc: kernels, governor, limits, Slurm, MPI

size_t NumCores(const std::vector<numa::Cpu>& cpus);
// "model name" of /proc/cpuinfo; "unknown" where it does not say.
std::string CpuModel(const std::string& cpuinfo);
// The word in brackets of "always [madvise] never".
std::string Selected(const std::string& text);

inline Finding Ok(std::string found) {
  return {Level::kOk, "", std::move(found), ""};
}
inline Finding Warn(std::string found, std::string advice) {
  return {Level::kWarn, "", std::move(found), std::move(advice)};
}
inline Finding Bad(std::string found, std::string advice) {
  return {Level::kError, "", std::move(found), std::move(advice)};
}

}  // namespace onecopy::report
