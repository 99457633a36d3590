// bench: prefill and decode speed, beside what this machine's memory and cores can deliver.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/cli/bench_limits.h"
#include "runtime/cli/bench_output.h"
#include "runtime/cli/bench_steps.h"
#include "runtime/cli/bench_work.h"
#include "runtime/cli/command.h"
#include "runtime/cli/model_options.h"
#include "runtime/cli/model_session.h"

namespace onecopy::cli {
namespace {

struct BenchOptions {
  ModelOptions model;
  BenchPlan plan = {.prompts = {512}, .decodes = {128}, .depths = {0}, .batches = {1}};
  std::string compare;
  bool json = false;
};

void SizeEngine(const BenchOptions& options, const proto::ModelSpec& spec, proto::EngineOptions* engine) {
  const BenchPlan& plan = options.plan;
  if (plan.MostPositions() > spec.context_length())
    Fail(ErrorCode::kUsage,
         "a sequence of {} tokens does not fit the model's context of {}; lower -p, -n or --depth",
         plan.MostPositions(), spec.context_length());
  engine->set_slots(plan.Slots());
  engine->set_kv_tokens(plan.KvTokens());
}

void RunBench(const BenchOptions& options, comm::Communicator& comm, const Seat& seat) {
  nlohmann::json earlier;
  ModelSession session(comm, seat, options.model,
                       [&](const Checkpoint&, const proto::ModelSpec& spec, proto::EngineOptions* engine) {
                         if (!options.compare.empty())
                           earlier = ReadEarlierBench(options.compare, spec.name());
                         SizeEngine(options, spec, engine);
                       });
  BenchResults results;
  results.limits = MeasureBenchLimits(session);
  StepNotes notes;
  size_t n_steps = 0;
  session.engine().SetStepObserver([&](const exec::Decoder& decoder) {
    notes.push_back({decoder.counts(), decoder.times()});
    ++n_steps;
  });
  session.Run(
      [&](exec::Engine& engine) { results.rows = BenchSteps(options.plan, comm, engine, n_steps).Run(); });
  const std::vector<StepNotes> by_rank = GatherNotes(comm, notes);
  if (!session.leads()) return;
  for (const BenchRow& row : results.rows) results.work.push_back(WorkOf(row, by_rank));
  results.model = session.spec().name();
  results.kernels = session.report().kernels();
  results.ranks = comm.size();
  for (const auto& rank : session.report().ranks()) results.threads += static_cast<int>(rank.threads());
  Print(options.json ? BenchJson(results, earlier).dump(2) + "\n" : BenchMarkdown(results, earlier));
}

}  // namespace

Command BenchCommand() {
  auto options = std::make_shared<BenchOptions>();
  Command command;
  command.name = "bench";
  command.summary = "Prefill and decode speed, beside this machine's measured limits";
  command.examples =
      "  onecopy bench -m model.gguf\n"
      "  onecopy bench -m model.gguf -p 128,512,4096 -n 64 --depth 0,4096 --batch 1,8,32\n"
      "  onecopy bench -m model.gguf --json > before.json; …; onecopy bench -m model.gguf --compare "
      "before.json\n";
  command.add_options = [options](CLI::App* app) {
    BenchPlan& plan = options->plan;
    AddModelOptions(app, &options->model);
    const auto list = [&](const char* name, std::vector<uint32_t>* values, const char* help) {
      return app->add_option(name, *values, help)->delimiter(',')->type_name("LIST");
    };
    list("-p,--prompt", &plan.prompts, "prompt lengths to measure, separated by commas; 0: none");
    list("-n,--predict", &plan.decodes, "numbers of decode steps to measure; 0: none");
    list("--depth", &plan.depths, "tokens in each sequence before the decode steps");
    list("--batch", &plan.batches, "sequences that a decode step goes on with")->check(CLI::Range(1u, 4096u));
    app->add_option("-r,--repetitions", plan.repetitions, "repetitions, after one warm-up")
        ->check(CLI::Range(1, 1000));
    app->add_option("--compare", options->compare, "JSON of an earlier run of this model: print ratios to it")
        ->type_name("FILE");
    app->add_flag("--json", options->json, "print JSON");
  };
  command.run = [options](comm::Communicator& comm, const Seat& seat) { RunBench(*options, comm, seat); };
  return command;
}

}  // namespace onecopy::cli
