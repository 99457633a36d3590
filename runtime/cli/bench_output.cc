#include "runtime/cli/bench_output.h"

#include <fmt/format.h>

#include "runtime/base/error.h"
#include "runtime/base/file.h"

namespace onecopy::cli {
namespace {

using nlohmann::ordered_json;

const char* NameOf(const BenchRow& row) {
  return row.is_prefill ? "prefill" : "decode";
}

double Share(double part, double whole) {
  return whole > 0 ? part / whole : 0;
}

// Of the limits: bytes and multiply-adds a second, all ranks together.
double BandwidthShare(const BenchRow& row, const RowWork& work, const BenchLimits& limits) {
  return Share(row.rate.median * work.bytes_per_token, limits.read_all);
}
double ComputeShare(const BenchRow& row, const RowWork& work, const BenchLimits& limits) {
  return Share(row.rate.median * work.multiply_adds_per_token, limits.PeakOfModel());
}

// Tokens a second of the row over those of the same row of an earlier run; 0 where that has none.
double RatioToEarlier(const BenchRow& row, const nlohmann::json& earlier) {
  if (earlier.is_null()) return 0;
  const auto is = [](const nlohmann::json& other, const char* key, uint32_t value) {
    return other.contains(key) && other[key].is_number_unsigned() && other[key] == value;
  };
  for (const auto& other : earlier[NameOf(row)]) {
    if (!other.is_object() || !is(other, "tokens", row.tokens)) continue;
    if (!row.is_prefill && (!is(other, "depth", row.depth) || !is(other, "batch", row.batch))) continue;
    const auto median = nlohmann::json::json_pointer("/tokens_per_second/median");
    if (other.contains(median) && other[median].is_number())
      return Share(row.rate.median, other[median].get<double>());
  }
  return 0;
}

ordered_json RowJson(const BenchRow& row, const RowWork& work, const BenchLimits& limits) {
  ordered_json json = {{"tokens", row.tokens}};
  if (!row.is_prefill) {
    json["depth"] = row.depth;
    json["batch"] = row.batch;
  }
  json["tokens_per_second"] = {{"median", row.rate.median}, {"min", row.rate.min}, {"max", row.rate.max}};
  json["collective_seconds_per_token"] = row.collective_seconds;
  json["bytes_per_token"] = static_cast<uint64_t>(work.bytes_per_token);
  json["multiply_adds_per_token"] = static_cast<uint64_t>(work.multiply_adds_per_token);
  json["experts_per_step"] = work.experts_per_step;
  json["bandwidth_share"] = BandwidthShare(row, work, limits);
  json["compute_share"] = ComputeShare(row, work, limits);
  ordered_json& shares = json["time_shares"];
  for (size_t p = 0; p < exec::kNumPhases; ++p) shares[exec::kPhaseNames[p]] = work.phases[p];
  shares["imbalance"] = work.imbalance;
  json["idle_threads"] = work.idle_threads;
  json["kernel_share"] = Share(row.rate.median * work.multiply_adds_per_token, limits.kernel_all);
  return json;
}

ordered_json MachineJson(const BenchResults& results) {
  const BenchLimits& limits = results.limits;
  ordered_json peaks = ordered_json::array();
  for (const auto& peak : limits.peaks)
    peaks.push_back({{"format", peak.format},
                     {"instruction", peak.instruction},
                     {"multiply_adds_per_second_rank", peak.rank},
                     {"multiply_adds_per_second", peak.all}});
  return {{"read_bytes_per_second", limits.read_all},
          {"read_bytes_per_second_thread", limits.read_thread},
          {"read_bytes_per_second_rank", limits.read_rank},
          {"peaks", peaks},
          {"format", limits.format},
          {"kernel", {{"weight_type", limits.weight_type}, {"multiply_adds_per_second", limits.kernel_all}}},
          {"ranks", results.ranks},
          {"threads", results.threads}};
}

std::string LimitsTable(const BenchResults& results) {
  const BenchLimits& limits = results.limits;
  std::string text = "| limit | rank 0 | all ranks |\n|---|---:|---:|\n";
  text += fmt::format("| memory read, GB/s | {:.1f} (one thread: {:.1f}) | {:.1f} |\n",
                      limits.read_rank / 1e9, limits.read_thread / 1e9, limits.read_all / 1e9);
  for (const auto& peak : limits.peaks)
    text += fmt::format("| {}: {}, GMAC/s | {:.0f} | {:.0f} |\n", peak.format, peak.instruction,
                        peak.rank / 1e9, peak.all / 1e9);
  text += fmt::format("| {} kernel for {}, in the caches, GMAC/s | | {:.0f} |\n", results.kernels,
                      limits.weight_type, limits.kernel_all / 1e9);
  return text;
}

std::string SpeedTable(const BenchResults& results, const nlohmann::json& earlier) {
  const BenchLimits& limits = results.limits;
  std::string text = fmt::format(
      "| | tokens | depth | batch | tokens/s (min - max) | MB/token | GB/s | of memory | GMAC/s | of {} peak "
      "|",
      limits.format);
  text += earlier.is_null() ? "\n" : " to earlier |\n";
  text += "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|";
  text += earlier.is_null() ? "\n" : "---:|\n";
  for (size_t i = 0; i < results.rows.size(); ++i) {
    const BenchRow& row = results.rows[i];
    const RowWork& work = results.work[i];
    text += fmt::format(
        "| {} | {} | {} | {} | {:.2f} ({:.2f} - {:.2f}) | {:.1f} | {:.2f} | {:.1f} % | {:.1f} | {:.1f} % |",
        NameOf(row), row.tokens, row.depth, row.batch, row.rate.median, row.rate.min, row.rate.max,
        work.bytes_per_token / 1e6, row.rate.median * work.bytes_per_token / 1e9,
        100 * BandwidthShare(row, work, limits), row.rate.median * work.multiply_adds_per_token / 1e9,
        100 * ComputeShare(row, work, limits));
    if (!earlier.is_null()) {
      const double ratio = RatioToEarlier(row, earlier);
      text += ratio > 0 ? fmt::format(" {:.2f} |", ratio) : std::string(" |");
    }
    text += "\n";
  }
  return text;
}

std::string TimesTable(const BenchResults& results) {
  std::string text = "| % of the time | tokens | depth | batch |", line = "|---|---:|---:|---:|";
  for (const char* name : exec::kPhaseNames) {
    text += fmt::format(" {} |", name);
    line += "---:|";
  }
  text += " imbalance | idle threads |\n" + line + "---:|---:|\n";
  for (size_t i = 0; i < results.rows.size(); ++i) {
    const BenchRow& row = results.rows[i];
    const RowWork& work = results.work[i];
    text += fmt::format("| {} | {} | {} | {} |", NameOf(row), row.tokens, row.depth, row.batch);
    for (const double share : work.phases) text += fmt::format(" {:.1f} |", 100 * share);
    text += fmt::format(" {:.1f} | {:.1f} |\n", 100 * work.imbalance, 100 * work.idle_threads);
  }
  return text;
}

}  // namespace

ordered_json BenchJson(const BenchResults& results, const nlohmann::json& earlier) {
  ordered_json json;
  json["model"] = results.model;
  json["kernels"] = results.kernels;
  json["prefill"] = ordered_json::array();
  json["decode"] = ordered_json::array();
  for (size_t i = 0; i < results.rows.size(); ++i) {
    const BenchRow& row = results.rows[i];
    ordered_json out = RowJson(row, results.work[i], results.limits);
    if (const double ratio = RatioToEarlier(row, earlier); ratio > 0) out["ratio_to_earlier"] = ratio;
    json[NameOf(row)].push_back(std::move(out));
  }
  json["machine"] = MachineJson(results);
  return json;
}

std::string BenchMarkdown(const BenchResults& results, const nlohmann::json& earlier) {
  return fmt::format("{}: {} ranks, {} threads in all, kernels {}\n\n{}\n{}\n{}", results.model,
                     results.ranks, results.threads, results.kernels, LimitsTable(results),
                     SpeedTable(results, earlier), TimesTable(results));
}

nlohmann::json ReadEarlierBench(const std::string& path, const std::string& model) {
  auto json = nlohmann::json::parse(ReadTextFile(path), nullptr, /*allow_exceptions=*/false);
  const bool is_bench = json.is_object() && json.contains("model") && json["model"].is_string() &&
                        json.contains("prefill") && json["prefill"].is_array() && json.contains("decode") &&
                        json["decode"].is_array();
  if (!is_bench)
    Fail(ErrorCode::kBadInput, "--compare {}: expected what `bench --json` printed, found something else",
         path);
  if (const auto other = json["model"].get<std::string>(); other != model)
    Fail(ErrorCode::kBadInput,
         "--compare {}: that run was of the model '{}', this one is of '{}'; compare runs of one model", path,
         other, model);
  return json;
}

}  // namespace onecopy::cli
