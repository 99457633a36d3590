// doctor's two faces: a page of text and one JSON object, from the same Diagnosis.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "runtime/base/sizes.h"
#include "runtime/numa/sysfs.h"
#include "runtime/report/doctor.h"

namespace onecopy::report {
namespace {

using nlohmann::ordered_json;

const char* LevelName(Level level) {
  switch (level) {
    case Level::kOk:
      return "ok";
    case Level::kWarn:
      return "warn";
    case Level::kError:
      return "error";
  }
  return "error";
}

std::string CpuList(const numa::Node& node) {
  std::vector<int> ids;
  for (const numa::Cpu& cpu : node.cpus) ids.push_back(cpu.id);
  return numa::FormatIdList(ids);
}

size_t NumCores(const numa::Node& node) {
  return numa::CpuIds(node.cpus, /*smt=*/false).size();
}

std::string Threads(const Diagnosis& diagnosis) {
  return diagnosis.threads_min == diagnosis.threads_max
             ? fmt::format("{}", diagnosis.threads_min)
             : fmt::format("{} to {}", diagnosis.threads_min, diagnosis.threads_max);
}

std::string NodeTable(const numa::Topology& topology) {
  size_t width = 4;
  for (const numa::Node& node : topology.nodes) width = std::max(width, CpuList(node).size());
  std::string out = fmt::format("{:>4}  {:<{}}  {:>5}  {:>10}  {:>10}  {}\n", "node", "cpus", width, "cores",
                                "memory", "available", "distances");
  for (const numa::Node& node : topology.nodes) {
    out += fmt::format("{:>4}  {:<{}}  {:>5}  {:>10}  {:>10}  {}\n", node.id, CpuList(node), width,
                       NumCores(node), FormatBytes(node.memory_bytes), FormatBytes(node.free_bytes),
                       fmt::join(node.distances, " "));
  }
  return out;
}

std::string Kernels(const DoctorInput& input) {
  std::string out;
  for (const KernelChoice& kernel : input.kernels) {
    if (!out.empty()) out += ", ";
    out += kernel.name;
    if (kernel.chosen) out += " (chosen)";
    if (!kernel.supported) out += fmt::format(" (this CPU lacks {})", kernel.requires_isa);
  }
  return out;
}

}  // namespace

std::string DoctorText(const DoctorInput& input, const Diagnosis& diagnosis) {
  std::string out;
  out += fmt::format("host     {}\n", input.topology.host);
  out += fmt::format("cpu      {}\n", diagnosis.cpu_model);
  out += fmt::format("isa      {}", input.isa_present.empty()
                                        ? "none of those used"
                                        : fmt::format("{}", fmt::join(input.isa_present, " ")));
  if (!input.isa_absent.empty()) out += fmt::format(" (absent: {})", fmt::join(input.isa_absent, " "));
  out += fmt::format("\nkernels  {}\n", Kernels(input));
  out +=
      fmt::format("ranks    {}, one a node, with {} threads each\n\n", diagnosis.ranks, Threads(diagnosis));
  out += NodeTable(input.topology) + "\n";
  size_t width = 0;
  for (const Finding& finding : diagnosis.findings) width = std::max(width, finding.topic.size());
  for (const Finding& finding : diagnosis.findings) {
    out += fmt::format("{:<5}  {:<{}}  {}\n", LevelName(finding.level), finding.topic, width, finding.found);
    if (!finding.advice.empty()) out += fmt::format("{:<5}  {:<{}}  -> {}\n", "", "", width, finding.advice);
  }
  return out;
}

std::string DoctorJson(const DoctorInput& input, const Diagnosis& diagnosis) {
  ordered_json out;
  out["host"] = input.topology.host;
  out["cpu"] = diagnosis.cpu_model;
  out["isa"] = ordered_json::object();
  for (const std::string& name : input.isa_present) out["isa"][name] = true;
  for (const std::string& name : input.isa_absent) out["isa"][name] = false;
  out["kernels"] = ordered_json::array();
  for (const KernelChoice& kernel : input.kernels) {
    out["kernels"].push_back({{"name", kernel.name},
                              {"requires", kernel.requires_isa},
                              {"supported", kernel.supported},
                              {"chosen", kernel.chosen}});
  }
  out["ranks"] = diagnosis.ranks;
  out["threads_per_rank"] = {{"min", diagnosis.threads_min}, {"max", diagnosis.threads_max}};
  out["nodes"] = ordered_json::array();
  for (const numa::Node& node : input.topology.nodes) {
    out["nodes"].push_back({{"node", node.id},
                            {"cpus", CpuList(node)},
                            {"cores", NumCores(node)},
                            {"memory_bytes", node.memory_bytes},
                            {"available_bytes", node.free_bytes},
                            {"memory_allowed", node.memory_allowed},
                            {"distances", node.distances}});
  }
  out["findings"] = ordered_json::array();
  for (const Finding& finding : diagnosis.findings) {
    out["findings"].push_back({{"level", LevelName(finding.level)},
                               {"topic", finding.topic},
                               {"found", finding.found},
                               {"advice", finding.advice}});
  }
  // A host or CPU name need not be UTF-8.
  return out.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace onecopy::report
