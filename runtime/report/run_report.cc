#include "runtime/report/run_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/base/sizes.h"


namespace onecopy::report {

std::string ReportTable(const proto::RunReport& report) {
  size_t host_width = 4;
  for (const auto& r : report.ranks()) host_width = std::max(host_width, r.host().size());
  std::string text =
      fmt::format("{:>4}  {:<{}}  {:>4}  {:>7}  {:>9}  {:>10}  {:>9}  {:>8}  {:>9}\n", "rank", "host",
                  host_width, "node", "threads", "weights", "replicated", "KV cache", "on node", "read");
  uint64_t weights = 0, replicated = 0, kv = 0, read = 0;
  for (const auto& r : report.ranks()) {
    const std::string node = r.node() < 0 ? "any" : std::to_string(r.node());
    text += fmt::format("{:>4}  {:<{}}  {:>4}  {:>7}  {:>9}  {:>10}  {:>9}  {:>7.2f}%  {:>9}\n", r.rank(),
                        r.host(), host_width, node, r.threads(), FormatBytes(r.weight_bytes()),
                        FormatBytes(r.replicated_bytes()), FormatBytes(r.kv_bytes()), 100 * r.pages_on_node(),
                        FormatBytes(r.bytes_read()));
    weights += r.weight_bytes();
    replicated += r.replicated_bytes();
    kv += r.kv_bytes();
    read += r.bytes_read();
  }
  text += fmt::format("{:>4}  {:<{}}  {:>4}  {:>7}  {:>9}  {:>10}  {:>9}  {:>8}  {:>9}\n", "sum", "",
                      host_width, "", "", FormatBytes(weights), FormatBytes(replicated), FormatBytes(kv), "",
                      FormatBytes(read));
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
  json["file_bytes"] = report.file_bytes();
  json["ranks"] = nlohmann::ordered_json::array();
  for (const auto& r : report.ranks()) {
    nlohmann::ordered_json rank;
    rank["rank"] = r.rank();
    rank["host"] = r.host();
    rank["node"] = r.node();
    rank["threads"] = r.threads();
    rank["weight_bytes"] = r.weight_bytes();
    rank["replicated_bytes"] = r.replicated_bytes();
    rank["kv_bytes"] = r.kv_bytes();
    rank["arena_bytes"] = r.arena_bytes();
    rank["huge_page_bytes"] = r.huge_page_bytes();
    rank["pages_on_node"] = r.pages_on_node();
    rank["bytes_read"] = r.bytes_read();
    rank["load_seconds"] = r.load_seconds();
    rank["peak_bytes"] = r.peak_bytes();
    json["ranks"].push_back(std::move(rank));
  }
  return json.dump(2) + "\n";
}

}  // namespace onecopy::report
