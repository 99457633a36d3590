#include "runtime/report/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/base/sizes.h"

namespace onecopy::report {

namespace {

// One row of the table; what a sum does not have is empty.
struct Row {
  std::string rank, host, node, threads, on_node, huge, window, missed;
  uint64_t weights = 0, replicated = 0, kv = 0, read = 0;
};

std::string Line(const Row& row, size_t host_width) {
  return fmt::format("{:>4}  {:<{}}  {:>5}  {:>7}  {:>9}  {:>10}  {:>9}  {:>8}  {:>5}  {:>7}  {:>6}  {:>9}\n",
                     row.rank, row.host, host_width, row.node, row.threads, FormatBytes(row.weights),
                     FormatBytes(row.replicated), FormatBytes(row.kv), row.on_node, row.huge, row.window,
                     row.missed, FormatBytes(row.read));
}

std::string NodeName(const proto::RankReport& rank) {
  if (rank.node() < 0) return "any";
  if (rank.nodes_size() < 2) return std::to_string(rank.node());
  return fmt::format("{}..{}", rank.nodes(0), rank.nodes(rank.nodes_size() - 1));
}

}  // namespace

std::string ReportTable(const proto::RunReport& report) {
  size_t host_width = 4;
  for (const auto& r : report.ranks()) host_width = std::max(host_width, r.host().size());
  std::string text =
      fmt::format("{:>4}  {:<{}}  {:>5}  {:>7}  {:>9}  {:>10}  {:>9}  {:>8}  {:>5}  {:>7}  {:>6}  {:>9}\n",
                  "rank", "host", host_width, "node", "threads", "weights", "replicated", "KV cache",
                  "on node", "huge", "windows", "missed", "read");
  Row sum{"sum", "", "", "", "", "", "", ""};
  for (const auto& r : report.ranks()) {
    const double resident = std::max<double>(1, static_cast<double>(r.arena_bytes()));
    const Row row{
        std::to_string(r.rank()),
        r.host(),
        NodeName(r),
        std::to_string(r.threads()),
        fmt::format("{:.2f}%", 100 * r.pages_on_node()),
        fmt::format("{:.0f}%", std::min(100.0, 100 * static_cast<double>(r.huge_page_bytes()) / resident)),
        fmt::format("{:.0f}%", 100 * r.window_on_node()),
        std::to_string(r.numa_miss() + r.numa_foreign()),
        r.weight_bytes(),
        r.replicated_bytes(),
        r.kv_bytes(),
        r.bytes_read()};
    text += Line(row, host_width);
    sum.weights += row.weights;
    sum.replicated += row.replicated;
    sum.kv += row.kv;
    sum.read += row.read;
  }
  text += Line(sum, host_width);
  text += fmt::format("copies of the model in memory: {:.2f} ({} resident of {} planned)\n",
                      report.copies_in_memory(),
                      FormatBytes(static_cast<uint64_t>(report.copies_in_memory() *
                                                        static_cast<double>(report.weight_bytes()))),
                      FormatBytes(report.weight_bytes()));
  return text;
}

std::string ReportJson(const proto::RunReport& report) {
  nlohmann::ordered_json json;
  json["weight_bytes"] = report.weight_bytes();
  json["replicated_bytes"] = report.replicated_bytes();
  json["copies_in_memory"] = report.copies_in_memory();
  json["model"] = report.model();
  json["kernels"] = report.kernels();
  json["kv_type"] = report.kv_type();
  json["file_bytes"] = report.file_bytes();
  json["ranks"] = nlohmann::ordered_json::array();
  for (const auto& r : report.ranks()) {
    nlohmann::ordered_json rank;
    rank["rank"] = r.rank();
    rank["host"] = r.host();
    rank["node"] = r.node();
    rank["nodes"] = std::vector<int>(r.nodes().begin(), r.nodes().end());
    rank["cpus"] = r.cpus();
    rank["threads"] = r.threads();
    rank["weight_bytes"] = r.weight_bytes();
    rank["replicated_bytes"] = r.replicated_bytes();
    rank["kv_bytes"] = r.kv_bytes();
    rank["state_bytes"] = r.state_bytes();
    rank["arena_bytes"] = r.arena_bytes();
    rank["huge_page_bytes"] = r.huge_page_bytes();
    rank["pages_on_node"] = r.pages_on_node();
    rank["window_on_node"] = r.window_on_node();
    rank["node_bytes"] = nlohmann::ordered_json::object();
    for (const proto::NodeBytes& on : r.node_bytes())
      rank["node_bytes"][std::to_string(on.node())] = on.bytes();
    rank["numastat"] = {{"hit", r.numa_hit()}, {"miss", r.numa_miss()}, {"foreign", r.numa_foreign()}};
    rank["bytes_read"] = r.bytes_read();
    rank["bytes_received"] = r.bytes_received();
    rank["load_seconds"] = r.load_seconds();
    rank["peak_bytes"] = r.peak_bytes();
    json["ranks"].push_back(std::move(rank));
  }
  return json.dump(2) + "\n";
}

}  // namespace onecopy::report
