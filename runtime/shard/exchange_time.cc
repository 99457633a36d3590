#include "runtime/shard/exchange_time.h"

#include <algorithm>
#include <cmath>

#include "runtime/comm/collectives_table.h"
#include "runtime/model/model_spec.h"
#include "runtime/shard/pipeline.h"
#include "runtime/shard/plan.h"

namespace onecopy::shard {
namespace {

// MPI's gathers of small messages double what each has with every round; `bytes` is what each leader receives.
double BetweenHosts(const MachineModel& machine, double hosts, double bytes) {
  return std::ceil(std::log2(hosts)) * machine.link_seconds + bytes / machine.link_bandwidth;
}

class StepExchanges {
 public:
  StepExchanges(const proto::ModelSpec& spec, const proto::ShardPlan& plan, const MachineModel& machine,
                const StepShape& step)
      : spec_(spec), plan_(plan), machine_(machine), step_(step), n_(step.tokens) {}

  double Seconds() const {
    if (plan_.ranks() == 1) return 0;
    const double hidden = n_ * spec_.hidden_dim();
    const int stages = NumStages(plan_);
    const ExchangeGroup all = GroupOf({0, plan_.ranks()});
    double seconds = GatherSeconds(machine_, all, n_ * 3 * sizeof(int32_t));  // the step itself, to all ranks
    const double logits = double{sizeof(float)} * step_.logit_rows * spec_.vocab_size();
    for (int s = 0; s < stages; ++s) {
      const Range ranks = RanksOfStage(plan_, s);
      const ExchangeGroup group = GroupOf(ranks);
      if (s == EmbeddingStage(spec_, stages)) {
        seconds += AllReduceSeconds(machine_, group, hidden * sizeof(float));
        if (s != 0) seconds += HandOver(ranks, RanksOfStage(plan_, 0), hidden * sizeof(float));
      }
      if (s > 0) seconds += HandOver(RanksOfStage(plan_, s - 1), ranks, hidden * sizeof(float));
      if (s == stages - 1) seconds += GatherSeconds(machine_, group, logits);
      const Range layers = LayersOfStage(plan_, s);
      for (uint32_t l = layers.begin; l < layers.end; ++l) seconds += LayerCollectives(group, l);
    }
    if (stages > 1) seconds += HandOver(RanksOfStage(plan_, stages - 1), {0, 1}, logits);
    return seconds;
  }

 private:
  ExchangeGroup GroupOf(const Range& ranks) const {
    ExchangeGroup group = {static_cast<double>(ranks.size()), 1};
    for (uint32_t r = ranks.begin + 1; r < ranks.end && !machine_.host_of_rank.empty(); ++r)
      group.hosts += machine_.host_of_rank[r] != machine_.host_of_rank[r - 1];
    return group;
  }

  // A message from the first rank of one stage to that of another, and there to all.
  double HandOver(const Range& from, const Range& to, double bytes) const {
    const auto& hosts = machine_.host_of_rank;
    const bool far = !hosts.empty() && hosts[from.begin] != hosts[to.begin];
    return (far ? machine_.link_seconds + bytes / machine_.link_bandwidth
                : machine_.sync_seconds + bytes / machine_.copy_bandwidth) +
           GatherSeconds(machine_, GroupOf(to), bytes);
  }

  double LayerCollectives(const ExchangeGroup& group, uint32_t layer) const {
    // What is gathered of each token after the first projections.
    const double linear_row =
        2.0 * spec_.linear_key_heads() * spec_.linear_key_head_dim() + 2.0 * spec_.linear_value_heads();
    const double kv_row = IsLinearLayer(spec_, layer) ? linear_row
                          : spec_.kv_lora_rank() > 0
                              ? spec_.q_lora_rank() + spec_.kv_lora_rank() + spec_.qk_rope_head_dim()
                              : 1.0 * KvHeadsOf(spec_, layer) * (spec_.head_dim() + ValueDim(spec_));
    const auto& dense = spec_.dense_layers();
    const bool routed = spec_.n_experts() > 0 && std::find(dense.begin(), dense.end(), layer) == dense.end();
    return GatherSeconds(machine_, group, n_ * kv_row * sizeof(float)) +
           2 * AllReduceSeconds(machine_, group, n_ * spec_.hidden_dim() * sizeof(double)) +
           (routed ? GatherSeconds(machine_, group, n_ * spec_.n_experts() * sizeof(float)) : 0);
  }

  const proto::ModelSpec& spec_;
  const proto::ShardPlan& plan_;
  const MachineModel& machine_;
  const StepShape step_;
  const double n_;
};

}  // namespace

// As comm chooses by itself. What goes by socket costs as many bytes as two phases here: the links between sockets are
// not in this model.
double AllReduceSeconds(const MachineModel& machine, const ExchangeGroup& group, double bytes) {
  if (group.ranks < 2) return 0;
  const auto ranks = static_cast<int>(std::ceil(group.ranks / group.hosts));  // of one host
  double on_host = 0;
  if (ranks > 1) {
    const comm::Algorithm algorithm =
        comm::CollectivesTable().Choose(static_cast<size_t>(bytes), ranks, /*sockets=*/1);
    const comm::AllReduceCost cost = comm::CostOf(algorithm, bytes, ranks, /*sockets=*/1);
    on_host = cost.phases * machine.sync_seconds + cost.bytes / machine.copy_bandwidth;
  }
  if (group.hosts < 2) return on_host;
  // Between the leaders, then from them to their hosts.
  return on_host + BetweenHosts(machine, group.hosts, (group.hosts - 1) * bytes) + machine.sync_seconds +
         bytes / machine.copy_bandwidth;
}

double GatherSeconds(const MachineModel& machine, const ExchangeGroup& group, double bytes) {
  if (group.ranks < 2) return 0;
  const double on_host = machine.sync_seconds + bytes / machine.copy_bandwidth;
  if (group.hosts < 2) return on_host;
  return on_host + BetweenHosts(machine, group.hosts, bytes) + on_host;
}

double ExchangeSeconds(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                       const MachineModel& machine, const StepShape& step) {
  return StepExchanges(spec, plan, machine, step).Seconds();
}

}  // namespace onecopy::shard
