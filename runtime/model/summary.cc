#include "runtime/model/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"
#include "runtime/model/model_spec.h"

namespace onecopy {
namespace {

using nlohmann::json;

json TypesByBytes(const Checkpoint& checkpoint) {
  std::map<std::string, uint64_t> bytes;
  uint64_t sum = 0;
  for (const TensorInfo& tensor : checkpoint.tensors) {
    bytes[tensor.type_name] += tensor.bytes;
    sum += tensor.bytes;
  }
  std::vector<std::pair<std::string, uint64_t>> ordered(bytes.begin(), bytes.end());
  std::stable_sort(ordered.begin(), ordered.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  json types = json::array();
  for (const auto& [type, n] : ordered) {
    types.push_back({{"type", type},
                     {"bytes", n},
                     {"share", sum == 0 ? 0.0 : static_cast<double>(n) / static_cast<double>(sum)}});
  }
  return types;
}

double Elements(const TensorInfo& tensor) {
  double n = 1;
  for (const uint64_t dim : tensor.shape) n *= static_cast<double>(dim);
  return n;
}

void AddSpec(const proto::ModelSpec& spec, json* summary) {
  uint64_t all = 0, active = 0;
  for (const proto::Weight& weight : spec.weights()) {
    const uint64_t one = weight.rows() * weight.cols();
    all += one * std::max(1u, weight.n_experts());
    active +=
        weight.n_experts() == 0 ? one : one * weight.n_experts() * spec.n_experts_used() / spec.n_experts();
  }
  (*summary)["family"] = spec.family();
  (*summary)["parameters"] = all;
  (*summary)["active_parameters"] = active;
  (*summary)["context_length"] = spec.context_length();
  if (!spec.not_runnable().empty())
    (*summary)["problem"] =
        fmt::format("it can be planned, not run: it needs {}", fmt::join(spec.not_runnable(), ", "));
}

// "30.5 billion"
std::string Number(double n) {
  if (n >= 1e9) return fmt::format("{:.3g} billion", n / 1e9);
  if (n >= 1e6) return fmt::format("{:.3g} million", n / 1e6);
  return fmt::format("{:.0f}", n);
}

}  // namespace

json Summarize(const Checkpoint& checkpoint) {
  json summary = {{"family", nullptr}, {"problem", nullptr}, {"types", TypesByBytes(checkpoint)}};
  try {
    AddSpec(BuildModelSpec(checkpoint), &summary);
  } catch (const Error& error) {
    double elements = 0;
    for (const TensorInfo& tensor : checkpoint.tensors) elements += Elements(tensor);
    summary["parameters"] = elements;
    summary["problem"] = error.what();
  }
  return summary;
}

std::string SummaryAsText(const json& summary) {
  std::string out =
      fmt::format("family {}, {} parameters",
                  summary["family"].is_null() ? "unknown" : summary["family"].get<std::string>(),
                  Number(summary["parameters"].get<double>()));
  if (!summary["family"].is_null())
    out += fmt::format(", {} of them active, context {}", Number(summary["active_parameters"].get<double>()),
                       summary["context_length"].get<uint64_t>());
  std::vector<std::string> types;
  for (const json& type : summary["types"])
    types.push_back(fmt::format("{} {:.1f} %", Printable(type["type"].get<std::string>()),
                                100 * type["share"].get<double>()));
  out += fmt::format("\ntypes {}\n", fmt::join(types, ", "));
  if (!summary["problem"].is_null())
    out += fmt::format("cannot be run: {}\n", Printable(summary["problem"].get<std::string>(), 4096));
  return out;
}

}  // namespace onecopy
