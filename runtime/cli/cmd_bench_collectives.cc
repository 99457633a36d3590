// bench-collectives: the latency of an all-reduce, own algorithms beside MPI_Allreduce and a plain copy, in one table.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/base/file.h"
#include "runtime/base/launcher.h"
#include "runtime/base/sizes.h"
#include "runtime/cli/collectives_bench.h"
#include "runtime/cli/collectives_file.h"
#include "runtime/cli/command.h"

namespace onecopy::cli {
namespace {

struct CollectivesOptions {
  std::vector<std::string> bytes = {"64",   "256",  "1Ki",   "4Ki", "8Ki", "16Ki",
                                    "28Ki", "64Ki", "256Ki", "1Mi", "4Mi"};
  std::vector<int> ranks;  // empty: powers of two, and all
  double seconds = 60;
  std::string tune;
  bool json = false;
};

CollectivesPlan PlanOf(const CollectivesOptions& options, int size) {
  constexpr uint64_t kMostBytes = 256 << 20;
  CollectivesPlan plan;
  plan.seconds = options.seconds;
  std::set<size_t> bytes;
  for (const std::string& text : options.bytes) {
    const uint64_t n = ParseBytes(text);
    if (n < sizeof(float) || n > kMostBytes)
      Fail(ErrorCode::kUsage, "--bytes {}: expected 4 bytes to {}", text, FormatBytes(kMostBytes));
    bytes.insert(n);
  }
  plan.bytes.assign(bytes.begin(), bytes.end());
  std::set<int> ranks(options.ranks.begin(), options.ranks.end());
  if (ranks.empty()) {
    for (int r = 2; r < size; r *= 2) ranks.insert(r);
    ranks.insert(size);
  }
  for (const int r : ranks)
    if (r < 2 || r > size)
      Fail(ErrorCode::kUsage, "--ranks {}: this run has {} ranks; start it by {} -n {} bench-collectives", r,
           size, LauncherName(), std::max(r, 2));
  plan.ranks.assign(ranks.begin(), ranks.end());
  return plan;
}

// In the order of the table's columns.
struct Column {
  const char *name, *title;
};
constexpr Column kColumns[] = {
    {"one-phase", "one phase"}, {"two-phases", "two phases"}, {"by-socket", "by socket"},
    {"choice", "choice"},       {"mpi", "MPI_Allreduce"},     {"rows", "rows f64"},
    {"rows mpi", "rows, MPI"},  {"rows bf16", "rows, bf16"},  {"copy", "copy"},
};

std::string Short(size_t bytes) {
  if (bytes % (1 << 20) == 0) return fmt::format("{} MiB", bytes >> 20);
  return bytes % (1 << 10) == 0 ? fmt::format("{} KiB", bytes >> 10) : fmt::format("{} B", bytes);
}

std::string Markdown(const std::vector<CollectivesRow>& rows, const std::string& where) {
  std::vector<Column> columns;
  for (const Column& column : kColumns)
    if (std::any_of(rows.begin(), rows.end(),
                    [&](const auto& row) { return row.latency.count(column.name); }))
      columns.push_back(column);
  std::string text = fmt::format(
      "All-reduce on {}: microseconds a call, median (99th percentile) over the calls of all ranks, each of "
      "which calls "
      "again at once.\nf32 sums; `rows f64`: as many bytes of f64 terms, a residual added row by row; "
      "`copy`: memcpy of "
      "as many bytes that another rank wrote.\n\n| ranks | bytes |",
      where);
  std::string rule = "\n|--:|--:|";
  for (const Column& column : columns) {
    text += fmt::format(" {} |", column.title);
    rule += "--:|";
  }
  text += " MPI / choice |" + rule + "--:|\n";
  for (const CollectivesRow& row : rows) {
    text += fmt::format("| {} | {} |", row.ranks, Short(row.bytes));
    for (const Column& column : columns) {
      const auto it = row.latency.find(column.name);
      text += it == row.latency.end()
                  ? " |"
                  : fmt::format(" {:.1f} ({:.1f}) |", it->second.median_us, it->second.p99_us);
    }
    const auto mpi = row.latency.find("mpi");
    text += mpi == row.latency.end()
                ? " |\n"
                : fmt::format(" {:.1f} |\n", mpi->second.median_us / row.latency.at("choice").median_us);
  }
  return text;
}

std::string RowsJson(const std::vector<CollectivesRow>& rows, const std::string& host, size_t cpus) {
  nlohmann::ordered_json json = {{"host", host}, {"cpus", cpus}};
  json["rows"] = nlohmann::ordered_json::array();
  for (const CollectivesRow& row : rows) {
    nlohmann::ordered_json out = {{"ranks", row.ranks},
                                  {"sockets", row.sockets},
                                  {"bytes", row.bytes},
                                  {"choice", comm::NameOf(row.choice)}};
    for (const auto& [name, latency] : row.latency)
      out["latency_us"][name] = {
          {"median", latency.median_us}, {"p99", latency.p99_us}, {"samples", latency.samples}};
    json["rows"].push_back(std::move(out));
  }
  return json.dump(2) + "\n";
}

}  // namespace

Command BenchCollectivesCommand() {
  auto options = std::make_shared<CollectivesOptions>();
  Command command;
  command.name = "bench-collectives";
  command.summary = "Latency of the all-reduce between ranks, beside MPI_Allreduce and a plain copy";
  command.examples =
      "  onecopy -n 2 bench-collectives\n"
      "  onecopy -n 24 bench-collectives --bytes 8Ki,28Ki --ranks 2,8,24 --json\n"
      "  onecopy bench-collectives --tune table.json\n"
      "  onecopy generate --collectives-table table.json -p Hello\n";
  command.add_options = [options](CLI::App* app) {
    app->add_option("--bytes", options->bytes, "sizes of the message, separated by commas")->delimiter(',');
    app->add_option("--ranks", options->ranks,
                    "how many ranks take part, separated by commas (default: 2, 4, 8 … and all)")
        ->delimiter(',');
    app->add_option("--seconds", options->seconds, "time for all measurements together")
        ->check(CLI::Range(0.1, 86400.0));
    app->add_option("--tune", options->tune,
                    "write the fastest algorithm for each size and number of ranks to this file");
    app->add_flag("--json", options->json, "print JSON");
  };
  command.run = [options](comm::Communicator& comm, const Seat& seat) {
    const CollectivesPlan plan = PlanOf(*options, comm.size());
    const auto rows = MeasureCollectives(comm, comm.table(), plan);
    size_t cpus = 0;
    for (const numa::Node& node : seat.topology.nodes) cpus += node.cpus.size();
    OnFirstRank(comm, "writing the results", [&] {
      const std::string& host = seat.topology.host;
      if (!options->tune.empty()) WriteFile(options->tune, CollectivesJson(TableOf(rows), host));
      Print(options->json ? RowsJson(rows, host, cpus)
                          : Markdown(rows, fmt::format("{} ({} CPUs)", host, cpus)));
    });
  };
  return command;
}

}  // namespace onecopy::cli
