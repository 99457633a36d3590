#include "runtime/report/doctor.h"

#include <algorithm>

#include "runtime/numa/sysfs.h"
#include "runtime/report/doctor_checks.h"

namespace onecopy::report {

size_t CheckInput::TotalCores() const {
  size_t cores = 0;
  for (const numa::Place& place : places) cores += NumCores(place.cpus);
  return cores;
}

uint64_t CheckInput::TotalMemory() const {
  uint64_t bytes = 0;
  for (const numa::Place& place : places)
    for (int node : place.nodes) bytes += topology().Find(node)->memory_bytes;
  return bytes;
}

size_t NumCores(const std::vector<numa::Cpu>& cpus) {
  return numa::CpuIds(cpus, /*smt=*/false).size();
}

std::string CpuModel(const std::string& cpuinfo) {
  const size_t at = cpuinfo.find("model name");
  if (at == std::string::npos) return "unknown";
  const std::string line = cpuinfo.substr(at, cpuinfo.find('\n', at) - at);
  const size_t value = line.find_first_not_of(" \t", line.find(':') + 1);
  return value == std::string::npos ? "unknown" : line.substr(value);
}

std::string Selected(const std::string& text) {
  const size_t open = text.find('['), close = text.find(']');
  if (open == std::string::npos || close == std::string::npos) return text;
  return text.substr(open + 1, close - open - 1);
}

Diagnosis Diagnose(const DoctorInput& given) {
  const CheckInput input{given, numa::FindPlaces(given.topology),
                         numa::ReadText(given.root, "proc/cpuinfo").value_or("")};
  Diagnosis diagnosis;
  diagnosis.cpu_model = CpuModel(input.cpuinfo);
  for (const numa::Place& place : input.places) {
    const size_t cores = NumCores(place.cpus);
    diagnosis.threads_min = diagnosis.ranks == 0 ? cores : std::min(diagnosis.threads_min, cores);
    diagnosis.threads_max = std::max(diagnosis.threads_max, cores);
    ++diagnosis.ranks;
  }
  for (const auto checks : {NodeChecks(), FirmwareChecks(), MemoryChecks(), SystemChecks()})
    for (const Check& check : checks) {
      Finding finding = check.run(input);
      finding.topic = check.topic;
      diagnosis.findings.push_back(std::move(finding));
    }
  return diagnosis;
}

}  // namespace onecopy::report
