// doctor's two faces: a page of text and one JSON object, from the same Diagnosis.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "runtime/base/sizes.h"
#include "runtime/numa/sysfs.h"
#include "runtime/report/doctor_checks.h"

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

std::string Threads(const Diagnosis& diagnosis) {
  return diagnosis.threads_min == diagnosis.threads_max
             ? fmt::format("{}", diagnosis.threads_min)
             : fmt::format("{} to {}", diagnosis.threads_min, diagnosis.threads_max);
}

// Of the node's own cores, all nodes reading at once; its first reader's where it has no CPUs.
std::string Bandwidth(const NodeBandwidths& measured, int node) {
  const auto text = [](const PairBandwidth& pair) {
    return pair.bytes_per_second > 0 ? fmt::format("{:.1f} GB/s", pair.bytes_per_second / 1e9)
                                     : std::string("-");
  };
  for (const PairBandwidth& pair : measured.at_once)
    if (pair.memory_node == node) return text(pair);
  for (const PairBandwidth& pair : measured.pairs)
    if (pair.memory_node == node) return text(pair);
  return "-";
}

std::string NodeTable(const DoctorInput& input) {
  const numa::Topology& topology = input.topology;
  size_t width = 4;
  for (const numa::Node& node : topology.nodes) width = std::max(width, CpuList(node).size());
  std::string out = fmt::format("{:>4}  {:<{}}  {:>5}  {:>10}  {:>10}  {:>10}  {}\n", "node", "cpus", width,
                                "cores", "memory", "available", "reads", "distances");
  for (const numa::Node& node : topology.nodes) {
    out += fmt::format("{:>4}  {:<{}}  {:>5}  {:>10}  {:>10}  {:>10}  {}\n", node.id, CpuList(node), width,
                       NumCores(node.cpus), FormatBytes(node.memory_bytes), FormatBytes(node.free_bytes),
                       Bandwidth(input.bandwidths, node.id), fmt::join(node.distances, " "));
  }
  return out;
}

// The pairs across nodes, and what could not be measured.
std::string PairTable(const NodeBandwidths& measured) {
  std::string out;
  for (const PairBandwidth& pair : measured.pairs) {
    if (pair.bytes_per_second <= 0)
      out += fmt::format("cores of node {} reading node {}: {}\n", pair.cpu_node, pair.memory_node,
                         pair.why_not);
    else if (measured.pairs.size() > 1)
      out += fmt::format("cores of node {} reading node {}: {:.1f} GB/s, alone\n", pair.cpu_node,
                         pair.memory_node, pair.bytes_per_second / 1e9);
  }
  return out.empty() ? out : out + "\n";
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

ordered_json PairsJson(const std::vector<PairBandwidth>& pairs) {
  ordered_json out = ordered_json::array();
  for (const PairBandwidth& pair : pairs) {
    out.push_back({{"cpus_of", pair.cpu_node}, {"memory_of", pair.memory_node}});
    if (pair.bytes_per_second > 0)
      out.back()["bytes_per_second"] = pair.bytes_per_second;
    else
      out.back()["why_not"] = pair.why_not;
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
  out += NodeTable(input) + "\n" + PairTable(input.bandwidths);
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
                            {"cores", NumCores(node.cpus)},
                            {"memory_bytes", node.memory_bytes},
                            {"available_bytes", node.free_bytes},
                            {"memory_allowed", node.memory_allowed},
                            {"distances", node.distances}});
  }
  if (!input.bandwidths.empty()) {
    out["bandwidth"] = {{"pairs", PairsJson(input.bandwidths.pairs)},
                        {"all_at_once", PairsJson(input.bandwidths.at_once)},
                        {"sum", input.bandwidths.sum}};
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
