#include "runtime/cli/bench_limits.h"

#include <unistd.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "runtime/report/kernel_rates.h"
#include "runtime/report/machine.h"
#include "runtime/report/peak_rates.h"

namespace onecopy::cli {
namespace {

// A part for each thread, and beyond the last-level cache as a whole: what that keeps is not memory.
uint64_t BeyondCaches(int threads) {
  const long last_level = sysconf(_SC_LEVEL3_CACHE_SIZE);
  return std::max(ModelSession::kProbeBytesPerThread * static_cast<uint64_t>(threads),
                  last_level > 0 ? 2 * static_cast<uint64_t>(last_level) : 0);
}

// That of most weights of the model.
kernels::WeightType MainType(const proto::ModelSpec& spec) {
  std::map<uint32_t, double> elements;
  for (const proto::Weight& weight : spec.weights())
    elements[weight.type()] += static_cast<double>(weight.rows()) * static_cast<double>(weight.cols()) *
                               std::max(1u, weight.n_experts());
  const auto most = std::max_element(elements.begin(), elements.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return static_cast<kernels::WeightType>(most->first);
}

std::string FormatOf(const kernels::KernelTable& table, kernels::WeightType type) {
  if (table.weights[static_cast<size_t>(type)].act == kernels::ActFormat::kQ8) return "int8";
  return type == kernels::WeightType::kBF16 ? "bf16" : "f32";
}

}  // namespace

double BenchLimits::PeakOfModel() const {
  for (const std::string& wanted : {format, std::string("f32")})
    for (const Peak& peak : peaks)
      if (peak.format == wanted) return peak.all;
  return 0;
}

BenchLimits MeasureBenchLimits(ModelSession& session) {
  comm::Communicator& comm = session.comm();
  const int threads = session.team().size();
  BenchLimits limits;
  const kernels::WeightType type = MainType(session.spec());
  limits.weight_type = kernels::Info(type).name;
  limits.format = FormatOf(session.kernels(), type);
  nlohmann::json mine;
  {
    const report::MemoryProbe probe(threads, session.ProbeBytes(BeyondCaches(threads)));
    comm.Barrier();  // no rank fills its memory any more
    if (session.leads()) {
      limits.read_thread = probe.OneThreadBandwidth();
      limits.read_rank = probe.ReadBandwidth();
    }
    comm.Barrier();
    mine["read"] = comm.size() > 1 ? probe.ReadBandwidth() : limits.read_rank;
  }
  comm.Barrier();
  mine["peaks"] = nlohmann::json::array();
  for (const report::PeakRate& peak : report::MeasurePeakRates(threads))
    mine["peaks"].push_back({peak.format, peak.instruction, peak.multiply_adds_per_second});
  constexpr uint32_t kTokens = 64;
  mine["kernel"] =
      threads * report::MeasureMatmulRate(session.kernels(), type, /*sum=*/false, kTokens, threads);

  const std::string text = mine.dump();
  std::map<std::string, size_t> row_of;
  for (const auto& bytes : comm.AllGatherBytes({text.begin(), text.end()})) {
    const auto rank = nlohmann::json::parse(bytes);
    limits.read_all += rank["read"].get<double>();
    limits.kernel_all += rank["kernel"].get<double>();
    for (const auto& peak : rank["peaks"]) {
      const auto [row, is_new] = row_of.emplace(peak[1].get<std::string>(), limits.peaks.size());
      if (is_new) limits.peaks.push_back({peak[0], peak[1], peak[2], 0});
      limits.peaks[row->second].all += peak[2].get<double>();
    }
  }
  return limits;
}

}  // namespace onecopy::cli
