#include "runtime/cli/bench_steps.h"

#include <algorithm>
#include <chrono>
#include <span>

#include "runtime/base/check.h"

namespace onecopy::cli {
namespace {

using Clock = std::chrono::steady_clock;

uint32_t Most(const std::vector<uint32_t>& values) {
  return values.empty() ? 0 : *std::max_element(values.begin(), values.end());
}

}  // namespace

Figures FiguresOf(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  const size_t n = samples.size();
  return {n % 2 ? samples[n / 2] : (samples[n / 2 - 1] + samples[n / 2]) / 2, samples.front(),
          samples.back()};
}

uint64_t BenchPlan::MostPositions() const {
  const uint64_t decode = Most(decodes);
  return std::max<uint64_t>({1, Most(prompts), decode == 0 ? 0 : Most(depths) + decode});
}

uint32_t BenchPlan::Slots() const {
  return std::max(1u, Most(batches));
}

// Each sequence takes whole pages.
uint64_t BenchPlan::KvTokens() const {
  return Slots() == 1 ? MostPositions() : Slots() * RoundUp(MostPositions(), exec::KvCache::kPageTokens);
}

std::vector<BenchRow> BenchSteps::Run() {
  std::vector<BenchRow> rows;
  for (uint32_t n : plan_.prompts)
    if (n > 0) rows.push_back(Prefill(n));
  // Deeper and wider ones last: what fills the cache for one row serves the next.
  filled_.assign(plan_.Slots(), 0);
  std::vector<uint32_t> depths = plan_.depths, batches = plan_.batches;
  std::sort(depths.begin(), depths.end());
  std::sort(batches.begin(), batches.end());
  for (uint32_t n : plan_.decodes)
    for (uint32_t depth : depths)
      for (uint32_t batch : batches)
        if (n > 0) rows.push_back(Decode(n, depth, batch));
  return rows;
}

template <typename Prepare, typename Body>
void BenchSteps::Measure(BenchRow* row, uint64_t n_tokens, const Prepare& prepare, const Body& body) {
  std::vector<double> rates;
  double waited = 0;
  for (int r = -1; r < plan_.repetitions; ++r) {  // the first is a warm-up
    prepare();
    const size_t first_step = steps_so_far_;
    const double waited_before = comm_.stats().wait_seconds;
    const auto start = Clock::now();
    body();
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (r < 0) continue;
    waited += comm_.stats().wait_seconds - waited_before;
    rates.push_back(static_cast<double>(n_tokens) / seconds);
    row->steps.push_back({first_step, steps_so_far_});
  }
  row->rate = FiguresOf(rates);
  row->collective_seconds = waited / static_cast<double>(n_tokens) / plan_.repetitions;
}

BenchRow BenchSteps::Prefill(uint32_t n) {
  BenchRow row;
  row.is_prefill = true;
  row.tokens = n;
  Measure(
      &row, n, [] {}, [&] { engine_.Append(0, 0, RandomTokens(n)); });
  engine_.Release(0);
  return row;
}

void BenchSteps::Fill(uint32_t slot, uint32_t depth) {
  uint32_t& filled = filled_[slot];
  if (engine_.forward_only() && engine_.length(slot) != depth) {  // a state cannot go back to where it was
    engine_.Release(slot);
    filled = 0;
  }
  if (filled < depth) engine_.Append(slot, filled, RandomTokens(depth - filled));
  filled = depth;  // what lies behind is overwritten
}

BenchRow BenchSteps::Decode(uint32_t n, uint32_t depth, uint32_t batch) {
  BenchRow row;
  row.tokens = n;
  row.depth = depth;
  row.batch = batch;
  const auto fill = [&] {
    for (uint32_t slot = 0; slot < batch; ++slot) Fill(slot, depth);
  };
  fill();
  const std::vector<int32_t> tokens = RandomTokens(n * batch);
  Measure(&row, uint64_t{n} * batch, fill, [&] {
    for (uint32_t i = 0; i < n; ++i) {
      proto::Step step;
      for (uint32_t slot = 0; slot < batch; ++slot) {
        step.add_tokens(tokens[size_t{i} * batch + slot]);
        step.add_slots(slot);
        step.add_positions(depth + i);
        step.add_logit_rows(slot);
      }
      engine_.Forward(step);
    }
  });
  return row;
}

std::vector<int32_t> BenchSteps::RandomTokens(uint32_t n) {
  std::vector<int32_t> tokens(n);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random_() % engine_.spec().vocab_size());
  return tokens;
}

}  // namespace onecopy::cli
