// The steps that bench measures: prefill, and decode of one or several sequences at some depth.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/exec/engine.h"

namespace onecopy::cli {

struct Figures {
  double median = 0, min = 0, max = 0;
};
Figures FiguresOf(std::vector<double> samples);  // at least one

// Steps [begin, end) of a run, numbered from 0 as every rank sees them.
struct StepRange {
  size_t begin, end;
};

struct BenchRow {
  bool is_prefill = false;
  uint32_t tokens = 0;  // prefill: of the prompt; decode: steps, of `batch` tokens each
  uint32_t depth = 0, batch = 1;
  Figures rate;                   // tokens a second
  double collective_seconds = 0;  // of one token: time that rank 0 waited for others in collectives, the mean
  std::vector<StepRange> steps;   // that were timed
};

struct BenchPlan {
  std::vector<uint32_t> prompts, decodes, depths, batches;  // a zero among prompts and decodes is left out
  int repetitions = 5;

  // Of the longest sequence, and of the KV cache over all sequences, in positions.
  uint64_t MostPositions() const;
  uint64_t KvTokens() const;
  uint32_t Slots() const;
};

class BenchSteps {
 public:
  // steps_so_far: how many steps the engine has run, kept by the engine's step observer.
  BenchSteps(const BenchPlan& plan, const comm::Communicator& comm, exec::Engine& engine,
             const size_t& steps_so_far)
      : plan_(plan), comm_(comm), engine_(engine), steps_so_far_(steps_so_far) {}

  // Rank 0: measures all of the plan; medians after one warm-up. Errors: as exec::Engine::Forward.
  std::vector<BenchRow> Run();

 private:
  BenchRow Prefill(uint32_t n);
  BenchRow Decode(uint32_t n, uint32_t depth, uint32_t batch);
  // Times `body`, which processes n_tokens, repetitions + 1 times, each after `prepare`, which is not timed.
  template <typename Prepare, typename Body>
  void Measure(BenchRow* row, uint64_t n_tokens, const Prepare& prepare, const Body& body);
  // The slot holds at least `depth` positions; those before `depth` are a text's.
  void Fill(uint32_t slot, uint32_t depth);
  // Different tokens, so that they spread over the experts as a text's do.
  std::vector<int32_t> RandomTokens(uint32_t n);

  const BenchPlan& plan_;
  const comm::Communicator& comm_;
  exec::Engine& engine_;
  const size_t& steps_so_far_;
  std::mt19937 random_{1};
  std::vector<uint32_t> filled_;  // by slot
};

}  // namespace onecopy::cli
