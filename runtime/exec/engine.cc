#include "runtime/exec/engine.h"

#include <algorithm>
#include <map>

#include "proto/control.pb.h"
#include "runtime/base/check.h"

namespace onecopy::exec {

namespace {

// Gives every page of the arena its memory.
void Touch(const numa::Arena& arena, const ThreadTeam& team) {
  constexpr uint64_t kHugePage = 2 << 20, kPage = 4096;
  team.For(DivUp(arena.bytes(), kHugePage), [&](size_t i, int) {
    uint8_t* const end = arena.data() + std::min(arena.bytes(), (i + 1) * kHugePage);
    for (volatile uint8_t* at = arena.data() + i * kHugePage; at < end; at += kPage) *at = 0;
  });
}

}  // namespace

proto::EngineOptions DefaultEngineOptions(uint64_t kv_tokens) {
  proto::EngineOptions options;
  options.set_kv_tokens(kv_tokens);
  options.set_slots(1);
  options.set_chunk_tokens(512);
  return options;
}

Engine::Engine(const RankGroups& groups, const proto::ModelSpec& spec, const proto::ShardPlan& plan,
               const shard::WeightStore& store, const kernels::KernelTable& table, const ThreadTeam& team,
               numa::ArenaSource* memory, const proto::EngineOptions& options)
    : comm_(groups.all),
      spec_(spec),
      options_(options),
      cache_(spec, plan, table, groups.plan.rank(), memory, options.kv_tokens(), options.slots()),
      states_(spec, plan, groups.plan.rank(), memory, options.slots()),
      decoder_({groups.plan, groups.stage, spec, plan, store, table, team, cache_, states_,
                options.cut_anywhere()}),
      lengths_(options.slots()) {
  if (!options.reserve()) return;
  Touch(cache_.arena(), team);
  Touch(states_.arena(), team);
}

Engine::~Engine() {
  if (!leads_ || comm_.size() == 1 || failed_) return;
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
  const std::span<const float> logits = decoder_.Forward(step);
  if (observer_) observer_(decoder_);
  return logits;
}

void Engine::CheckStep(const proto::Step& step) const {
  std::map<uint32_t, uint64_t> end_of_slot;
  for (int t = 0; t < step.tokens_size(); ++t) {
    if (step.slots(t) >= options_.slots())
      Fail(ErrorCode::kUsage, "slot {} of {} does not exist", step.slots(t), options_.slots());
    if (step.tokens(t) < 0 || static_cast<uint32_t>(step.tokens(t)) >= spec_.vocab_size())
      Fail(ErrorCode::kUsage, "token id {} is outside the model's vocabulary, 0 … {}", step.tokens(t),
           spec_.vocab_size() - 1);
    const auto before = end_of_slot.find(step.slots(t));
    const uint64_t next = before == end_of_slot.end() ? lengths_[step.slots(t)] : before->second;
    const bool begins = before == end_of_slot.end() && step.positions(t) == 0;
    if (forward_only() && !begins && step.positions(t) != next)
      Fail(ErrorCode::kUsage,
           "position {} of slot {} does not follow its {} tokens, and linear attention cannot go back; begin "
           "the sequence again at position 0",
           step.positions(t), step.slots(t), next);
    uint64_t& end = end_of_slot[step.slots(t)];
    end = std::max<uint64_t>(end, step.positions(t) + 1ull);
  }
  uint64_t new_pages = 0;
  for (const auto& [slot, end] : end_of_slot) {
    if (end > spec_.context_length())
      Fail(ErrorCode::kUsage,
           "{} tokens do not fit the model's context of {}; shorten the prompt or ask for fewer tokens", end,
           spec_.context_length());
    new_pages += cache_.NewPages(slot, static_cast<uint32_t>(end));
  }
  if (new_pages > cache_.free_pages())
    Fail(ErrorCode::kUsage, "the step's tokens do not fit the KV cache of {}; raise --context",
         options_.kv_tokens());
}

std::span<const float> Engine::Forward(const proto::Step& step) {
  ONECOPY_CHECK(comm_.rank() == 0);
  CheckStep(step);
  proto::Control control;
  *control.mutable_step() = step;
  failed_ = true;  // until all is through: a throw below comes from the middle of a step
  Send(control);
  const std::span<const float> logits = Run(step);
  for (int t = 0; t < step.tokens_size(); ++t) lengths_[step.slots(t)] = step.positions(t) + 1;
  failed_ = false;
  return logits;
}

std::span<const float> Engine::Append(uint32_t slot, uint32_t position, std::span<const int32_t> tokens,
                                      uint32_t n_logits) {
  n_logits = std::min(n_logits, static_cast<uint32_t>(tokens.size()));
  const size_t first_logit = tokens.size() - n_logits;
  logits_.clear();
  std::span<const float> last;
  for (size_t begin = 0; begin < tokens.size(); begin += options_.chunk_tokens()) {
    const size_t end = std::min(tokens.size(), begin + options_.chunk_tokens());
    proto::Step step;
    step.set_prompt_tokens(static_cast<uint32_t>(end - begin));
    for (size_t t = begin; t < end; ++t) {
      step.add_tokens(tokens[t]);
      step.add_slots(slot);
      step.add_positions(position + static_cast<uint32_t>(t));
      if (t >= first_logit) step.add_logit_rows(static_cast<uint32_t>(t - begin));
    }
    last = Forward(step);
    // Logits of one chunk are handed on as they are; those of several are put together.
    if (step.logit_rows_size() < static_cast<int>(n_logits)) {
      logits_.insert(logits_.end(), last.begin(), last.end());
      last = logits_;
    }
  }
  return last;
}

void Engine::Release(uint32_t slot) {
  proto::Control control;
  control.set_release_slot(slot);
  Send(control);
  cache_.Release(slot);
  lengths_[slot] = 0;
}

void Engine::SharePrefix(uint32_t from, uint32_t to, uint32_t tokens) {
  ONECOPY_CHECK(!forward_only() && tokens % KvCache::kPageTokens == 0 && tokens <= lengths_[from] &&
                lengths_[to] == 0);
  proto::Control control;
  proto::SharePrefix& share = *control.mutable_share_prefix();
  share.set_from_slot(from);
  share.set_to_slot(to);
  share.set_tokens(tokens);
  Send(control);
  cache_.Share(from, to, tokens / KvCache::kPageTokens);
  lengths_[to] = tokens;
}

std::vector<proto::RankTimes> Engine::GatherTimes() {
  proto::Control control;
  control.set_gather_times(true);
  Send(control);
  std::vector<proto::RankTimes> ranks;
  for (const auto& bytes : ExchangeTimes()) {
    ranks.emplace_back();
    ONECOPY_CHECK(ranks.back().ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  }
  return ranks;
}

std::vector<std::vector<uint8_t>> Engine::ExchangeTimes() {
  proto::RankTimes mine;
  mine.set_step_seconds(times().total_seconds());
  mine.set_wait_seconds(times().wait_seconds);
  mine.set_bytes_read(times().bytes_read);
  std::vector<uint8_t> bytes(mine.ByteSizeLong());
  mine.SerializeToArray(bytes.data(), static_cast<int>(bytes.size()));
  return comm_.AllGatherBytes(bytes);
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
      case proto::Control::kSharePrefix:
        cache_.Share(control.share_prefix().from_slot(), control.share_prefix().to_slot(),
                     control.share_prefix().tokens() / KvCache::kPageTokens);
        break;
      case proto::Control::kGatherTimes:
        ExchangeTimes();
        break;
      default:
        return;
    }
  }
}

}  // namespace onecopy::exec
