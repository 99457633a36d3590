#include "runtime/report/machine_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "runtime/base/error.h"
#include "runtime/base/file.h"

namespace onecopy::report {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// One object of the file: reads keys, remembers which, and refuses those that nobody asked for.
class Object {
 public:
  Object(const json& value, std::string file, std::string at)
      : value_(value), file_(std::move(file)), at_(std::move(at)) {
    if (!value_.is_object()) Fail(ErrorCode::kBadInput, "{}: {} is no JSON object", file_, Name(""));
  }

  const json& Get(const std::string& key) {
    known_.insert(key);
    const auto it = value_.find(key);
    if (it == value_.end()) Reject(key, "is missing");
    return *it;
  }
  bool Has(const std::string& key) const { return value_.contains(key); }
  Object Child(const std::string& key) { return {Get(key), file_, Name(key)}; }

  std::string Text(const std::string& key) {
    const json& value = Get(key);
    if (!value.is_string() || value.get<std::string>().empty()) Reject(key, "must be a text, not empty");
    return value;
  }
  // low <= value <= high
  double Number(const std::string& key, double low, double high) {
    const json& value = Get(key);
    if (!value.is_number()) Reject(key, "must be a number");
    const double number = value;
    if (!(number >= low && number <= high))
      Reject(key, fmt::format("is {}; expected {} to {}", number, low, high));
    return number;
  }
  int Whole(const std::string& key, int low, int high) {
    if (!Get(key).is_number_integer()) Reject(key, "must be a whole number");
    return static_cast<int>(Number(key, low, high));
  }
  // {"2": 1.5e-6, "8": …} -> ascending
  std::map<double, double> Curve(const std::string& key, double low, double high) {
    Object points = Child(key);
    std::map<double, double> curve;
    for (const auto& [x, y] : points.value_.items()) {
      double at = 0;
      const auto [end, error] = std::from_chars(x.data(), x.data() + x.size(), at);
      if (error != std::errc() || end != x.data() + x.size() || !(at >= 1))
        Reject(key, fmt::format("has the key \"{}\"; expected a number from 1", x));
      curve[at] = points.Number(x, low, high);
    }
    if (curve.empty()) Reject(key, "must not be empty");
    return curve;
  }
  void RefuseOthers() const {
    for (const auto& [key, value] : value_.items())
      if (!known_.contains(key)) Reject(key, "is not a key that onecopy knows");
  }
  [[noreturn]] void Reject(const std::string& key, const std::string& reason) const {
    Fail(ErrorCode::kBadInput, "{}: {} {}", file_, Name(key), reason);
  }

 private:
  std::string Name(const std::string& key) const {
    if (at_.empty()) return key.empty() ? "the file" : key;
    return key.empty() ? at_ : at_ + "." + key;
  }

  const json& value_;
  std::string file_, at_;
  std::set<std::string> known_;
};

// "nodes": a list of nodes, or one object whose "count" nodes are alike and dealt to the sockets in order.
void ReadNodes(Object* top, MachineFile* machine) {
  constexpr int kMostNodes = 1024;
  constexpr double kMostBytes = 1e15;
  const auto read = [&](Object* node) {
    MachineFile::Node made;
    made.cores = node->Whole("cores", 1, 4096);
    made.memory_bytes = static_cast<uint64_t>(node->Number("memory_bytes", 1e6, kMostBytes));
    made.channels = node->Number("channels", 0.01, 64);
    return made;
  };
  const json& nodes = top->Get("nodes");
  if (nodes.is_array()) {
    for (size_t i = 0; i < nodes.size(); ++i) {
      Object node(nodes[i], machine->path, fmt::format("nodes[{}]", i));
      machine->nodes.push_back(read(&node));
      machine->nodes.back().socket = node.Whole("socket", 0, machine->sockets - 1);
      node.RefuseOthers();
    }
  } else {
    Object alike = top->Child("nodes");
    const int count = alike.Whole("count", 1, kMostNodes);
    machine->nodes.assign(count, read(&alike));
    for (int n = 0; n < count; ++n) machine->nodes[n].socket = n * machine->sockets / count;
    alike.RefuseOthers();
  }
  if (machine->nodes.empty() || machine->nodes.size() > kMostNodes)
    top->Reject("nodes", fmt::format("must be 1 to {}", kMostNodes));
}

void ReadMemory(Object memory, MachineFile* machine) {
  const double transfers = memory.Number("transfers_per_second", 1e8, 1e12);
  const double bytes = memory.Number("bytes_per_transfer", 1, 1024);
  const double achievable = memory.Number("achievable", 0.01, 1);
  memory.RefuseOthers();
  for (MachineFile::Node& node : machine->nodes)
    node.read_bandwidth = node.channels * transfers * bytes * achievable;
}

void ReadCpu(Object cpu, MachineFile* machine) {
  machine->clock_hz = cpu.Number("clock_hz", 1e8, 1e10);
  machine->core_read_bandwidth = cpu.Number("core_read_bandwidth", 1e8, 1e12);
  Object kernels = cpu.Child("kernels");
  for (const auto& [table, peak] : cpu.Get("kernels").items()) {
    Object of_table = kernels.Child(table);
    machine->kernels[table] = {of_table.Number("int8_multiply_adds_per_cycle", 1, 1e5),
                               of_table.Number("float_multiply_adds_per_cycle", 1, 1e5)};
    of_table.RefuseOthers();
  }
  if (machine->kernels.empty()) cpu.Reject("kernels", "must not be empty");
  machine->matmul_efficiency = cpu.Curve("matmul_efficiency", 0.001, 1);
  cpu.RefuseOthers();
}

void ReadLinks(Object links, MachineFile* machine) {
  if (machine->sockets > 1) machine->socket_link_bandwidth = links.Number("socket_link_bandwidth", 1e8, 1e13);
  machine->sync_seconds = links.Curve("sync_seconds", 1e-9, 1);
  machine->copy_bandwidth = links.Number("copy_bandwidth", 1e8, 1e12);
  links.RefuseOthers();
}

fs::path Folder() {
  return FindShipped({"launch/machines"});
}

}  // namespace

MachineFile ParseMachineFile(const std::string& text, const std::string& path) {
  const json parsed = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (parsed.is_discarded()) Fail(ErrorCode::kBadInput, "{}: not JSON", path);
  MachineFile machine;
  machine.path = path;
  Object top(parsed, path, "");
  machine.name = top.Text("name");
  const json& sources = top.Get("sources");
  const bool texts = sources.is_array() && !sources.empty() &&
                     std::all_of(sources.begin(), sources.end(), [](const json& s) { return s.is_string(); });
  if (!texts) top.Reject("sources", "must be a list of texts, not empty");
  machine.sources = sources.get<std::vector<std::string>>();
  Object estimates = top.Child("estimates");
  for (const auto& [key, why] : top.Get("estimates").items()) {
    machine.estimates[key] = estimates.Text(key);
    std::string pointer = "/" + key;
    std::replace(pointer.begin(), pointer.end(), '.', '/');
    if (!parsed.contains(json::json_pointer(pointer)))
      estimates.Reject(key, "explains a key that the file does not have");
  }
  if (machine.estimates.empty())
    top.Reject("estimates", "must not be empty: say which figures are estimates");
  machine.sockets = top.Whole("sockets", 1, 64);
  ReadNodes(&top, &machine);
  ReadMemory(top.Child("memory"), &machine);
  ReadCpu(top.Child("cpu"), &machine);
  ReadLinks(top.Child("links"), &machine);
  top.RefuseOthers();
  return machine;
}

std::vector<std::string> ShippedMachines() {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(Folder(), error))
    if (entry.path().extension() == ".json") names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

MachineFile LoadMachineFile(const std::string& name_or_path) {
  const bool is_path = name_or_path.find('/') != std::string::npos || name_or_path.ends_with(".json");
  const fs::path path = is_path ? fs::path(name_or_path) : Folder() / (name_or_path + ".json");
  std::error_code error;
  if (!is_path && !fs::exists(path, error)) {
    const auto names = ShippedMachines();
    Fail(ErrorCode::kBadInput, "there is no machine '{}'; those that ship with onecopy: {}; or give a file",
         name_or_path, names.empty() ? "none found" : fmt::format("{}", fmt::join(names, ", ")));
  }
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  if (!file || !fs::is_regular_file(path, error))
    Fail(ErrorCode::kBadInput, "{}: cannot be read as a machine description", path.string());
  return ParseMachineFile(text, path.string());
}

}  // namespace onecopy::report
