// bench: prefill and decode speed, beside what this machine's memory can deliver.

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <vector>

#include "runtime/base/log.h"
#include "runtime/cli/command.h"
#include "runtime/cli/model_options.h"
#include "runtime/cli/model_session.h"
#include "runtime/report/machine.h"
#include "runtime/report/run_report.h"
#include "runtime/shard/traffic.h"

namespace onecopy::cli {
namespace {

struct Options {
  ModelOptions model;
  std::vector<uint32_t> prompts = {512};
  std::vector<uint32_t> decodes = {128};
  uint32_t depth = 0;
  int repetitions = 5;
  bool json = false;
};

struct Figures {
  double median = 0, min = 0, max = 0;
};

Figures FiguresOf(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const size_t n = samples.size();
  return {n % 2 ? samples[n / 2] : (samples[n / 2 - 1] + samples[n / 2]) / 2, samples.front(),
          samples.back()};
}

struct Row {
  uint32_t tokens = 0, depth = 0;
  Figures rate;                   // tokens a second
  double bytes_per_token = 0;     // decode only: weights and cache that one token reads
  double collective_seconds = 0;  // of one token: time that rank 0 waited for others in collectives, the mean
};

class Bench {
 public:
  Bench(const Options& options, const comm::Communicator& comm, exec::Engine& engine,
        const shard::TokenCost& cost)
      : options_(options), comm_(comm), engine_(engine), cost_(cost) {}

  Row Prefill(uint32_t n) {
    Row row{n, 0, {}, 0, 0};
    const double before = comm_.stats().wait_seconds;
    row.rate = Repeat(n, [&] { engine_.Append(0, 0, RandomTokens(n)); });
    row.collective_seconds = (comm_.stats().wait_seconds - before) / n / (options_.repetitions + 1);
    return row;
  }

  // n single tokens after `depth` others.
  Row Decode(uint32_t n, uint32_t depth) {
    const std::vector<int32_t> before = RandomTokens(std::max(1u, depth)), tokens = RandomTokens(n);
    Row row{n, depth, {}, 0, 0};
    std::vector<double> samples;
    double waited = 0;
    for (int r = -1; r < options_.repetitions; ++r) {  // the first is a warm-up
      if (depth > 0) engine_.Append(0, 0, before);
      const double before = comm_.stats().wait_seconds;
      const auto start = std::chrono::steady_clock::now();
      for (uint32_t i = 0; i < n; ++i) engine_.Append(0, depth + i, std::span(tokens).subspan(i, 1));
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      if (r >= 0) waited += comm_.stats().wait_seconds - before;
      engine_.Release(0);
      if (r >= 0) samples.push_back(n / seconds);
    }
    row.collective_seconds = waited / n / options_.repetitions;
    row.rate = FiguresOf(samples);
    row.bytes_per_token = cost_.weight_bytes + cost_.kv_bytes_per_position * (depth + (n + 1) / 2.0);
    return row;
  }

 private:
  template <typename Body>
  Figures Repeat(uint32_t n, const Body& body) {
    std::vector<double> samples;
    for (int r = -1; r < options_.repetitions; ++r) {
      const auto start = std::chrono::steady_clock::now();
      body();
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      engine_.Release(0);
      if (r >= 0) samples.push_back(n / seconds);
    }
    return FiguresOf(samples);
  }

  // Different tokens, so that they spread over the experts as a text does.
  std::vector<int32_t> RandomTokens(uint32_t n) {
    std::vector<int32_t> tokens(n);
    for (int32_t& token : tokens) token = static_cast<int32_t>(random_() % engine_.spec().vocab_size());
    return tokens;
  }

  const Options& options_;
  const comm::Communicator& comm_;
  exec::Engine& engine_;
  const shard::TokenCost& cost_;
  std::mt19937 random_{1};
};

// Collective: all ranks read at once; the sum over ranks.
double ReadBandwidth(ModelSession& session) {
  session.comm().Barrier();
  const double mine = report::MeasureReadBandwidth(session.team().size(), session.ProbeBytes());
  std::vector<uint8_t> bytes(sizeof(mine));
  std::memcpy(bytes.data(), &mine, sizeof(mine));
  double sum = 0;
  for (const auto& from : session.comm().AllGatherBytes(bytes)) {
    double rate;
    std::memcpy(&rate, from.data(), sizeof(rate));
    sum += rate;
  }
  return sum;
}

nlohmann::ordered_json ToJson(const Figures& f) {
  return {{"median", f.median}, {"min", f.min}, {"max", f.max}};
}

struct Results {
  std::vector<Row> prefill, decode;
  double read_bandwidth = 0;
  int threads = 0;
};

std::string Json(const Results& results, const ModelSession& session) {
  nlohmann::ordered_json json;
  json["model"] = session.spec().name();
  json["kernels"] = session.report().kernels();
  json["prefill"] = nlohmann::ordered_json::array();
  for (const Row& row : results.prefill)
    json["prefill"].push_back({{"tokens", row.tokens},
                               {"tokens_per_second", ToJson(row.rate)},
                               {"collective_seconds_per_token", row.collective_seconds}});
  json["decode"] = nlohmann::ordered_json::array();
  for (const Row& row : results.decode)
    json["decode"].push_back(
        {{"tokens", row.tokens},
         {"depth", row.depth},
         {"batch", 1},
         {"tokens_per_second", ToJson(row.rate)},
         {"collective_seconds_per_token", row.collective_seconds},
         {"bytes_per_token", static_cast<uint64_t>(row.bytes_per_token)},
         {"bandwidth_share", row.rate.median * row.bytes_per_token / results.read_bandwidth}});
  json["machine"] = {{"read_bytes_per_second", results.read_bandwidth},
                     {"ranks", session.plan().ranks()},
                     {"threads", results.threads}};
  return json.dump(2) + "\n";
}

std::string Text(const Results& results, const ModelSession& session) {
  std::string text = fmt::format("{} ranks, {} threads in all, kernels {}, memory reads {:.1f} GB/s\n\n",
                                 session.plan().ranks(), results.threads, session.report().kernels(),
                                 results.read_bandwidth / 1e9);
  text += fmt::format("{:<8}  {:>6}  {:>6}  {:>10}  {:>10}  {:>10}  {:>8}  {:>9}\n", "", "tokens", "depth",
                      "tokens/s", "min", "max", "GB/s", "of memory");
  const auto line = [&](const char* what, const Row& row) {
    text += fmt::format("{:<8}  {:>6}  {:>6}  {:>10.2f}  {:>10.2f}  {:>10.2f}", what, row.tokens, row.depth,
                        row.rate.median, row.rate.min, row.rate.max);
    if (row.bytes_per_token > 0) {
      const double rate = row.rate.median * row.bytes_per_token;
      text += fmt::format("  {:>8.2f}  {:>8.1f}%", rate / 1e9, 100 * rate / results.read_bandwidth);
    }
    text += "\n";
  };
  for (const Row& row : results.prefill) line("prefill", row);
  for (const Row& row : results.decode) line("decode", row);
  return text;
}

}  // namespace

Command BenchCommand() {
  auto options = std::make_shared<Options>();
  Command command;
  command.name = "bench";
  command.summary = "Prefill and decode speed, beside this machine's measured read bandwidth";
  command.examples =
      "  onecopy bench -m model.gguf\n"
      "  onecopy bench -m model.gguf -p 128,512,2048 -n 64 --depth 1024 -r 3 --json\n";
  command.add_options = [options](CLI::App* app) {
    AddModelOptions(app, &options->model);
    app->add_option("-p,--prompt", options->prompts,
                    "prompt lengths to measure, separated by commas; 0: none")
        ->delimiter(',');
    app->add_option("-n,--predict", options->decodes, "numbers of single tokens to measure; 0: none")
        ->delimiter(',');
    app->add_option("--depth", options->depth, "tokens in the context before the single tokens");
    app->add_option("-r,--repetitions", options->repetitions, "repetitions, after one warm-up")
        ->check(CLI::Range(1, 1000));
    app->add_flag("--json", options->json, "print JSON");
  };
  command.run = [options](comm::Communicator& comm, const Seat& seat) {
    ModelSession session(comm, seat, options->model,
                         [&](const Checkpoint&, const proto::ModelSpec&, proto::EngineOptions* engine) {
                           uint64_t most = 1;
                           for (uint64_t p : options->prompts) most = std::max(most, p);
                           for (uint64_t n : options->decodes) most = std::max(most, options->depth + n);
                           engine->set_kv_tokens(most);
                         });
    Results results;
    results.read_bandwidth = ReadBandwidth(session);
    for (const auto& rank : session.report().ranks()) results.threads += static_cast<int>(rank.threads());
    const shard::TokenCost cost = shard::CostOfToken(session.spec(), session.plan(), ChooseKernels());
    session.Run([&](exec::Engine& engine) {
      Bench bench(*options, comm, engine, cost);
      for (uint32_t p : options->prompts)
        if (p > 0) results.prefill.push_back(bench.Prefill(p));
      for (uint32_t n : options->decodes)
        if (n > 0) results.decode.push_back(bench.Decode(n, options->depth));
      Print(options->json ? Json(results, session) : Text(results, session));
    });
  };
  return command;
}

}  // namespace onecopy::cli
