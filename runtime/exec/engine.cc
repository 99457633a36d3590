#include "runtime/exec/engine.h"

#include <algorithm>

#include "proto/control.pb.h"
#include "runtime/base/check.h"

namespace onecopy::exec {

proto::EngineOptions DefaultEngineOptions(uint64_t kv_tokens) {
  proto::EngineOptions options;
  options.set_kv_tokens(kv_tokens);
  options.set_slots(1);
  options.set_chunk_tokens(512);
  return options;
}

Engine::Engine(comm::Communicator& comm, const proto::ModelSpec& spec, const proto::ShardPlan& plan,
               const shard::WeightStore& store, const kernels::KernelTable& table, const ThreadTeam& team,
               int node, const proto::EngineOptions& options)
    : comm_(comm),
      spec_(spec),
      options_(options),
      cache_(spec, plan, table, comm.rank(), node, options.kv_tokens(), options.slots()),
      decoder_({comm, spec, plan, store, table, team, cache_}) {}

Engine::~Engine() {
  if (comm_.rank() != 0 || comm_.size() == 1 || failed_) return;
  try {
    proto::Control control;
    control.set_shutdown(true);
    Send(control);
  } catch (const Error&) {  // the ranks are gone; the error that took them is reported where it occurred
  }
}

void Engine::Send(const proto::Control& control) {
  if (comm_.size() == 1) return;
  std::vector<uint8_t> bytes(control.ByteSizeLong());
  control.SerializeToArray(bytes.data(), static_cast<int>(bytes.size()));
  comm_.Broadcast(&bytes, 0);
}

std::span<const float> Engine::Run(const proto::Step& step) {
  for (int t = 0; t < step.tokens_size(); ++t)
    ONECOPY_CHECK(cache_.Grow(step.slots(t), step.positions(t) + 1));  // rank 0 looked before
  return decoder_.Forward(step);
}

void Engine::CheckInput(uint32_t slot, uint32_t position, std::span<const int32_t> tokens) const {
  if (slot >= options_.slots())
    Fail(ErrorCode::kUsage, "slot {} of {} does not exist", slot, options_.slots());
  for (size_t i = 0; i < tokens.size(); ++i)
    if (tokens[i] < 0 || static_cast<uint32_t>(tokens[i]) >= spec_.vocab_size())
      Fail(ErrorCode::kUsage,
           "token id {} (number {} of the input) is outside the model's vocabulary, 0 … {}", tokens[i], i,
           spec_.vocab_size() - 1);
  const uint64_t end = uint64_t{position} + tokens.size();
  if (end > spec_.context_length())
    Fail(ErrorCode::kUsage,
         "{} tokens do not fit the model's context of {}; shorten the prompt or ask for fewer tokens", end,
         spec_.context_length());
  if (!cache_.HasRoom(slot, static_cast<uint32_t>(end)))
    Fail(ErrorCode::kUsage, "{} tokens do not fit the KV cache of {}; raise --context", end,
         options_.kv_tokens());
}

std::span<const float> Engine::Append(uint32_t slot, uint32_t position, std::span<const int32_t> tokens,
                                      uint32_t n_logits) {
  CheckInput(slot, position, tokens);
  n_logits = std::min(n_logits, static_cast<uint32_t>(tokens.size()));
  const size_t first_logit = tokens.size() - n_logits;
  logits_.clear();
  std::span<const float> last;
  failed_ = true;  // until all is through: a throw below comes from a collective
  for (size_t begin = 0; begin < tokens.size(); begin += options_.chunk_tokens()) {
    const size_t end = std::min(tokens.size(), begin + options_.chunk_tokens());
    proto::Control control;
    proto::Step* step = control.mutable_step();
    for (size_t t = begin; t < end; ++t) {
      step->add_tokens(tokens[t]);
      step->add_slots(slot);
      step->add_positions(position + static_cast<uint32_t>(t));
      if (t >= first_logit) step->add_logit_rows(static_cast<uint32_t>(t - begin));
    }
    Send(control);
    last = Run(*step);
    // Logits of one chunk are handed on as they are; those of several are put together.
    if (step->logit_rows_size() < static_cast<int>(n_logits)) {
      logits_.insert(logits_.end(), last.begin(), last.end());
      last = logits_;
    }
  }
  failed_ = false;
  return last;
}

void Engine::Release(uint32_t slot) {
  proto::Control control;
  control.set_release_slot(slot);
  Send(control);
  cache_.Release(slot);
}

void Engine::Serve() {
  ONECOPY_CHECK(comm_.rank() != 0);
  for (uint64_t n = 0;; ++n) {
    std::vector<uint8_t> bytes;
    comm_.Broadcast(&bytes, 0);
    proto::Control control;
    ONECOPY_CHECK(control.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
    switch (control.command_case()) {
      case proto::Control::kStep:
        Run(control.step());
        break;
      case proto::Control::kReleaseSlot:
        cache_.Release(control.release_slot());
        break;
      default:
        return;
    }
  }
}

}  // namespace onecopy::exec
