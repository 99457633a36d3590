// ModelSession: a model loaded over all ranks, ready to run. Its constructor is the set-up of every command
// that computes: headers, plan, fit, binding, load, audit; each stage ends in agreement of all ranks.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "proto/report.pb.h"
#include "runtime/cli/model_options.h"
#include "runtime/cli/placement.h"
#include "runtime/comm/communicator.h"
#include "runtime/exec/engine.h"
#include "runtime/model/checkpoint.h"
#include "runtime/numa/numastat.h"
#include "runtime/shard/balance.h"
#include "runtime/shard/loader.h"
#include "runtime/shard/plan.h"
#include "runtime/shard/weight_store.h"

namespace onecopy::cli {

class ModelSession {
 public:
  // Called on rank 0 between reading the headers and loading: the command's look at its input, while an error
  // is cheap. Sets kv_tokens to what the command needs.
  using Prepare = std::function<void(const Checkpoint&, const proto::ModelSpec&, proto::EngineOptions*)>;

  // Collective. Errors: as design's exit codes say; the same on every rank.
  ModelSession(comm::Communicator& comm, const Seat& seat, const ModelOptions& options,
               const Prepare& prepare);

  bool leads() const { return comm_.rank() == 0; }
  // Rank 0: runs body with the engine. Other ranks: serve it. Ends with the report written where asked.
  void Run(const std::function<void(exec::Engine&)>& body);

  // Memory that a measurement of read bandwidth may take on this rank: `wanted` where there is so much.
  static constexpr uint64_t kProbeBytesPerThread = 256ull << 20;
  uint64_t ProbeBytes(uint64_t wanted) const;
  uint64_t ProbeBytes() const {
    return ProbeBytes(kProbeBytesPerThread * static_cast<uint64_t>(team_->size()));
  }
  // Until Run.
  exec::Engine& engine() { return *engine_; }
  const kernels::KernelTable& kernels() const { return *table_; }
  const proto::ModelSpec& spec() const { return spec_; }
  const proto::ShardPlan& plan() const { return plan_; }
  const proto::RunReport& report() const { return report_; }
  const Checkpoint& checkpoint() const { return *checkpoint_; }  // rank 0
  const Placement& placement() const { return seat_.placement; }
  const exec::ThreadTeam& team() const { return *team_; }
  comm::Communicator& comm() { return comm_; }

 private:
  void ReadHeaders(const Prepare& prepare);
  void ShareHeaders();
  void StartThreads();
  void MakePlan();
  exec::RankGroups Groups() { return {comm_, compute_, stage_ ? *stage_ : compute_}; }
  shard::RankMeans MyMeans() const;
  void CheckFit();
  void Load();
  void Audit(proto::RankReport* mine) const;
  proto::RankReport MyReport() const;
  void MakeReport();
  // Runs one stage of set-up on this rank; all ranks agree on its outcome.
  void Stage(const char* name, const std::function<void()>& body);

  comm::Communicator& comm_;
  const Seat& seat_;
  const ModelOptions options_;
  const std::unique_ptr<comm::Communicator> single_ = comm::MakeSingleCommunicator();
  // Among whom the plan divides the model: all ranks, or each alone where every rank holds a copy.
  comm::Communicator& compute_;
  std::unique_ptr<comm::Communicator> stage_;  // this rank's stage of a pipeline; null: there is one stage
  const numa::NumaStat numastat_before_;
  std::optional<Checkpoint> checkpoint_;
  proto::EngineOptions engine_options_;
  proto::ModelSpec spec_;
  proto::ShardPlan plan_;
  const kernels::KernelTable* table_ = nullptr;
  std::optional<exec::ThreadTeam> team_;
  numa::ArenaSource memory_;
  std::optional<shard::WeightStore> store_;
  std::optional<exec::Engine> engine_;
  shard::LoadStats loaded_;
  proto::RunReport report_;
};

// The kernel table that ONECOPY_KERNELS forces, or the best for this CPU. Errors: kUsage.
const kernels::KernelTable& ChooseKernels();

}  // namespace onecopy::cli
