#include "runtime/cli/pipeline_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "runtime/base/check.h"
#include "runtime/base/launcher.h"
#include "runtime/base/log.h"
#include "runtime/cli/plan_machine.h"
#include "runtime/report/machine.h"
#include "runtime/shard/plan.h"

namespace onecopy::cli {
namespace {

// What each rank says of itself.
struct RankSpeed {
  double read_bandwidth;
  int32_t threads;
};

// Kernels, vectors and flags as rank 0 measures them; memory as every rank does, all at once, as they will read later.
shard::MachineModel MeasureHosts(const PipelineInput& input) {
  comm::Communicator& comm = input.comm;
  const auto hosts = comm.hosts();
  comm.Barrier();
  const RankSpeed mine = {report::MeasureReadBandwidth(input.team.size(), input.probe_bytes),
                          input.team.size()};
  std::vector<uint8_t> bytes(sizeof(mine));
  std::memcpy(bytes.data(), &mine, sizeof(mine));
  const auto speeds = comm.AllGatherBytes(bytes);
  shard::MachineModel machine;
  if (comm.rank() == 0) {
    const PlanMachine here({}, input.topology, input.spec, input.table);
    machine = here.Model(here.Lay(PlanMachine::Layout::kSpread, comm.ranks_on_host()));
    const double region_seconds = machine.ranks[0].region_seconds;
    machine.ranks.clear();
    for (const auto& from : speeds) {
      RankSpeed speed;
      std::memcpy(&speed, from.data(), sizeof(speed));
      machine.ranks.push_back({speed.read_bandwidth, speed.threads, 1, region_seconds});
    }
    machine.host_of_rank.resize(comm.size());
    for (size_t h = 0; h < hosts.size(); ++h)
      for (const int r : hosts[h]) machine.host_of_rank[r] = static_cast<int>(h);
  }
  comm.Barrier();
  const comm::LinkRate link =
      input.options.link.empty() ? comm::MeasureLink(comm) : ParseLink(input.options.link);
  machine.link_seconds = link.seconds;
  machine.link_bandwidth = link.bytes_per_second;
  return machine;
}

}  // namespace

std::vector<uint32_t> StageBounds(const std::vector<std::vector<int>>& hosts, int stages) {
  std::vector<uint32_t> first_of_host;
  uint32_t ranks = 0;
  for (const auto& host : hosts) {
    first_of_host.push_back(ranks);
    for (const int r : host)
      if (static_cast<uint32_t>(r) != ranks++)
        Fail(ErrorCode::kUsage,
             "rank {} does not follow the other ranks of its host, as the stages of a pipeline need it; "
             "start with mpirun --map-by slot or ppr, as {} does",
             r, LauncherName());
  }
  first_of_host.push_back(ranks);
  if (stages < 1 || static_cast<uint32_t>(stages) > ranks)
    Fail(ErrorCode::kUsage, "--pipeline {}: there are {} ranks, and every stage needs one", stages, ranks);
  std::vector<uint32_t> bounds;
  const size_t n_hosts = hosts.size();
  for (int s = 0; s <= stages; ++s) {
    const auto at = static_cast<size_t>(s);
    bounds.push_back(static_cast<size_t>(stages) <= n_hosts
                         ? first_of_host[at * n_hosts / static_cast<size_t>(stages)]
                         : static_cast<uint32_t>(at * ranks / static_cast<size_t>(stages)));
  }
  return bounds;
}

std::vector<StageCandidate> PredictStages(const proto::ModelSpec& spec, const kernels::KernelTable& table,
                                          const shard::MachineModel& machine,
                                          const std::vector<std::vector<int>>& hosts, uint64_t kv_tokens) {
  std::vector<StageCandidate> candidates;
  const int most = std::min(static_cast<int>(hosts.size()), static_cast<int>(spec.n_layers()));
  for (int stages = 1; stages <= most; ++stages) {
    const auto plan = shard::MakeShardPlan(spec, table,
                                           {.ranks = static_cast<int>(machine.ranks.size()),
                                            .shares = {},
                                            .stage_ranks = StageBounds(hosts, stages),
                                            .kv_tokens = kv_tokens});
    candidates.push_back({stages, shard::Predict(spec, plan, table, machine, 0)});
  }
  return candidates;
}

size_t BestStages(const std::vector<StageCandidate>& candidates, const shard::MachineModel& machine,
                  std::string* why) {
  const auto rate = [&](size_t i) { return candidates[i].predicted.decode_tokens_per_second; };
  size_t best = 0, next = 0;
  for (size_t i = 1; i < candidates.size(); ++i)
    if (rate(i) > rate(best)) best = i;
  for (size_t i = 0; i < candidates.size(); ++i)
    if (i != best && (next == best || rate(i) > rate(next))) next = i;
  const auto name = [&](size_t i) {
    return candidates[i].stages == 1 ? std::string("all hosts share every layer")
                                     : fmt::format("a pipeline of {} stages", candidates[i].stages);
  };
  *why = fmt::format("{}: predicted {:.1f} tokens/s decode", name(best), rate(best));
  if (next != best) *why += fmt::format(", against {:.1f} where it is {}", rate(next), name(next));
  *why += fmt::format(" (link of {:.0f} us and {:.2f} GB/s)", machine.link_seconds * 1e6,
                      machine.link_bandwidth * 1e-9);
  return best;
}

std::vector<uint32_t> ChooseStages(const PipelineInput& input) {
  comm::Communicator& comm = input.comm;
  const auto hosts = comm.hosts();
  if (input.options.replicate) return {};
  if (input.options.pipeline > 0) return StageBounds(hosts, input.options.pipeline);
  if (hosts.size() == 1) return {};
  const shard::MachineModel machine = MeasureHosts(input);
  std::vector<uint8_t> chosen(1, 1);
  if (comm.rank() == 0) {
    const auto candidates = PredictStages(input.spec, input.table, machine, hosts, input.kv_tokens);
    std::string why;
    chosen[0] = static_cast<uint8_t>(candidates[BestStages(candidates, machine, &why)].stages);
    log::info("{} hosts: {}; --pipeline says otherwise", hosts.size(), why);
  }
  comm.Broadcast(&chosen, 0);
  return StageBounds(hosts, chosen[0]);
}

}  // namespace onecopy::cli
