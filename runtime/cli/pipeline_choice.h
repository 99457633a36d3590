// How ranks on several hosts share the layers: all of them every layer, or as the stages of a pipeline.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "proto/model.pb.h"
#include "runtime/cli/model_options.h"
#include "runtime/comm/communicator.h"
#include "runtime/exec/thread_team.h"
#include "runtime/numa/topology.h"
#include "runtime/shard/predict.h"

namespace onecopy::cli {

// Bounds of the ranks of `stages` stages: whole hosts where there are enough of them, else ranks. hosts: as
// Communicator::hosts. Errors: kUsage for more stages than ranks, or where the ranks of a host do not follow each other.
std::vector<uint32_t> StageBounds(const std::vector<std::vector<int>>& hosts, int stages);

struct StageCandidate {
  int stages = 1;
  shard::Prediction predicted;
};
// Every number of stages from one to that of the hosts (and of the layers), and what the machine would do with it.
std::vector<StageCandidate> PredictStages(const proto::ModelSpec& spec, const kernels::KernelTable& table,
                                          const shard::MachineModel& machine,
                                          const std::vector<std::vector<int>>& hosts, uint64_t kv_tokens);
// The candidate with the quickest decode, and why, in one sentence.
size_t BestStages(const std::vector<StageCandidate>& candidates, const shard::MachineModel& machine,
                  std::string* why);

struct PipelineInput {
  comm::Communicator& comm;
  const ModelOptions& options;
  const numa::Topology& topology;
  const proto::ModelSpec& spec;
  const kernels::KernelTable& table;
  const exec::ThreadTeam& team;
  uint64_t probe_bytes, kv_tokens;
};
// Collective: the bounds of the stages' ranks, the same on every rank. Measures hosts and the link between them for
// about two seconds, where there are several and neither options.pipeline nor options.link says; rank 0 logs what was
// chosen and why. Errors: as StageBounds; CommError.
std::vector<uint32_t> ChooseStages(const PipelineInput& input);

}  // namespace onecopy::cli
