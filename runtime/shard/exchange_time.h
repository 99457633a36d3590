// How long ranks need to exchange the activations of a step: the part of a prediction (predict.h) that mirrors
// runtime/comm and the exchanges of exec/decoder.cc. Pure.
#pragma once

#include "proto/model.pb.h"
#include "proto/plan.pb.h"
#include "runtime/shard/predict.h"

namespace onecopy::shard {

// Those who take part in an exchange.
struct ExchangeGroup {
  double ranks = 1;  // of all hosts
  double hosts = 1;
};

// Of one exchange of `bytes` (the whole message, as every rank has it afterwards).
double AllReduceSeconds(const MachineModel& machine, const ExchangeGroup& group, double bytes);
double GatherSeconds(const MachineModel& machine, const ExchangeGroup& group, double bytes);

// Of all exchanges of one step. Ranks and hosts are those of the machine, as many as the plan's.
double ExchangeSeconds(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                       const MachineModel& machine, const StepShape& step);

}  // namespace onecopy::shard
