// What bench prints: a Markdown table for people, JSON for programs (keys are a contract: add, never rename), and
// ratios to an earlier run's JSON.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "runtime/cli/bench_limits.h"
#include "runtime/cli/bench_steps.h"
#include "runtime/cli/bench_work.h"

namespace onecopy::cli {

struct BenchResults {
  std::string model, kernels;
  int ranks = 0, threads = 0;  // threads: of all ranks
  BenchLimits limits;
  std::vector<BenchRow> rows;
  std::vector<RowWork> work;  // by row
};

// earlier: BenchJson of a run to compare with; null: none.
nlohmann::ordered_json BenchJson(const BenchResults& results, const nlohmann::json& earlier);
std::string BenchMarkdown(const BenchResults& results, const nlohmann::json& earlier);

// The JSON of an earlier run. Errors: kBadInput where the file is not that, or of another model than `model`.
nlohmann::json ReadEarlierBench(const std::string& path, const std::string& model);
}  // namespace onecopy::cli
