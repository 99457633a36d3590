// Plans of one model for one machine: who holds what, does it fit, how fast would it be; and which number of ranks is
// best. Pure but for PlanMachine's measurements.
#pragma once

#include <string>
#include <vector>

#include "proto/plan.pb.h"
#include "runtime/cli/pipeline_choice.h"
#include "runtime/cli/plan_machine.h"
#include "runtime/shard/predict.h"

namespace onecopy::cli {

struct PlannedRanks {
  PlanMachine::Layout layout = PlanMachine::Layout::kSpread;
  std::vector<PlanMachine::Place> places;  // one a rank, host after host
  std::vector<int> host_of_rank;
  std::string stages_text;  // over several hosts: how they share the layers, and why
  proto::ShardPlan plan;
  std::vector<proto::RankNeeds> needs;
  std::string why_not;  // empty: it fits
  shard::Prediction predicted;
};

struct PlannerInput {
  const proto::ModelSpec& spec;
  const kernels::KernelTable& table;
  const PlanMachine& machine;
  shard::Balance balance;
  uint32_t context, depth;
  int hosts = 1;  // each like the machine
  comm::LinkRate link;
  int pipeline = 0;  // stages; 0: the quickest
};

// ranks: of each host. Errors: as shard::SharesOf, StageBounds.
PlannedRanks PlanRanks(const PlannerInput& input, PlanMachine::Layout layout, int ranks);

struct Candidate {
  PlanMachine::Layout layout;
  int ranks = 0;  // of each host
  bool fits = false;
  shard::Prediction predicted;
};
struct Recommendation {
  std::vector<Candidate> candidates;  // one rank, one a socket, one a node, and divisors of the nodes
  size_t best = 0;                    // of those that fit, else of all: the quickest decode
  std::string text;                   // which and why, one or two sentences
};

// planned: the plan that the user asked for, which need not be made again.
Recommendation Recommend(const PlannerInput& input, const PlannedRanks& planned);

}  // namespace onecopy::cli
