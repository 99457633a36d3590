#include "runtime/cli/bench_work.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "runtime/base/check.h"

namespace onecopy::cli {
namespace {

// Time of the row's steps over all ranks.
void AddTimes(const BenchRow& row, const std::vector<StepNotes>& by_rank, RowWork* work) {
  double total = 0, waited = 0, team_wall = 0, team_work = 0;
  for (const StepRange& range : row.steps) {
    for (const StepNotes& notes : by_rank) {
      const exec::StepTimes before = range.begin > 0 ? notes[range.begin - 1].times : exec::StepTimes();
      const exec::StepTimes& after = notes[range.end - 1].times;
      for (size_t p = 0; p < exec::kNumPhases; ++p) work->phases[p] += after.seconds[p] - before.seconds[p];
      total += after.total_seconds() - before.total_seconds();
      waited += after.wait_seconds - before.wait_seconds;
      team_wall += after.team_wall_seconds - before.team_wall_seconds;
      team_work += after.team_work_seconds - before.team_work_seconds;
    }
  }
  if (total <= 0) return;
  work->phases[static_cast<size_t>(exec::Phase::kCollective)] -= waited;
  for (double& phase : work->phases) phase /= total;
  work->imbalance = waited / total;
  if (team_wall > 0) work->idle_threads = 1 - team_work / team_wall;
}

}  // namespace

std::vector<StepNotes> GatherNotes(comm::Communicator& comm, const StepNotes& mine) {
  static_assert(std::is_trivially_copyable_v<StepNote>);
  std::vector<uint8_t> bytes(mine.size() * sizeof(StepNote));
  if (!mine.empty()) std::memcpy(bytes.data(), mine.data(), bytes.size());
  std::vector<StepNotes> by_rank;
  for (const auto& from : comm.AllGatherBytes(bytes)) {
    StepNotes& notes = by_rank.emplace_back(from.size() / sizeof(StepNote));
    if (!notes.empty()) std::memcpy(notes.data(), from.data(), from.size());
    ONECOPY_CHECK(notes.size() == mine.size());
  }
  return by_rank;
}

RowWork WorkOf(const BenchRow& row, const std::vector<StepNotes>& by_rank) {
  RowWork work;
  exec::StepCounts sum;
  double experts = 0, steps = 0;
  for (const StepRange& range : row.steps) {
    steps += static_cast<double>(range.end - range.begin);
    for (size_t i = range.begin; i < range.end; ++i) {
      uint64_t most = 0;  // ranks share experts, so the most that one has a part of
      for (const StepNotes& notes : by_rank) {
        sum += notes[i].counts;
        most = std::max(most, notes[i].counts.experts);
      }
      experts += static_cast<double>(most);
    }
  }
  AddTimes(row, by_rank, &work);
  const double tokens = static_cast<double>(row.steps.size()) * row.tokens * row.batch;
  work.bytes_per_token = static_cast<double>(sum.weight_bytes + sum.kv_bytes) / tokens;
  work.multiply_adds_per_token = static_cast<double>(sum.multiply_adds) / tokens;
  work.experts_per_step = experts / steps;
  return work;
}

}  // namespace onecopy::cli
