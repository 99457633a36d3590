// Engine: the step loop over all ranks. Rank 0 decides each step; the others follow. Constructed on every
// rank; the destructor of rank 0 lets the others leave Serve(). Belongs to one thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "runtime/exec/decoder.h"

namespace onecopy::exec {

// One sequence, `kv_tokens` positions, chunks that keep a step's workspace small.
proto::EngineOptions DefaultEngineOptions(uint64_t kv_tokens);

// Who takes part; this rank is in each.
struct RankGroups {
  comm::Communicator& all;  // run each step
  comm::Communicator&
      plan;  // the plan divides the model among them: all, or one where every rank holds a copy
  comm::Communicator& stage;  // of this rank's stage of the pipeline: with one stage, `plan` itself
};

class Engine {
 public:
  // memory: of the KV cache. The references outlive the engine.
  Engine(const RankGroups& groups, const proto::ModelSpec& spec, const proto::ShardPlan& plan,
         const shard::WeightStore& store, const kernels::KernelTable& table, const ThreadTeam& team,
         numa::ArenaSource* memory, const proto::EngineOptions& options);
  ~Engine();

  // Rank 0, before anything else: from here on the other ranks Serve(), until this is destroyed.
  void Lead() { leads_ = true; }

  // Rank 0: runs one step of tokens of any sequences: prefill chunks, decoded tokens, side by side. Tokens of one slot
  // ascend in position, with forward_only() one by one. Returns the logits of step.logit_rows, [rows][vocab], valid until the next call.
  // Errors: kUsage for a token id, slot or position out of range, or where the cache is full; nothing was run then.
  // CommError when a rank failed.
  std::span<const float> Forward(const proto::Step& step);
  // Rank 0: appends tokens of a prompt to the sequence in `slot`, which holds `position` tokens so far. Returns the
  // logits of the last `n_logits` tokens, [n_logits][vocab], valid until the next call. Errors: kUsage for a
  // token id, slot or position out of range, or where the cache is full; nothing was run then. CommError when
  // a rank failed.
  std::span<const float> Append(uint32_t slot, uint32_t position, std::span<const int32_t> tokens,
                                uint32_t n_logits = 1);
  // Rank 0: forgets the sequence in `slot`.
  void Release(uint32_t slot);
  // Rank 0: the empty sequence in `to` begins with the first `tokens` tokens of the one in `from`, a multiple of
  // KvCache::kPageTokens that it has, without computing or copying anything. Not with forward_only().
  void SharePrefix(uint32_t from, uint32_t to, uint32_t tokens);
  // Rank 0: the times of all ranks, by rank.
  std::vector<proto::RankTimes> GatherTimes();

  // Other ranks: follow rank 0 until its engine is destroyed.
  void Serve();

  // Called on this rank after each step, with the decoder as the step left it. Every rank sees the same steps in the same
  // order, so what ranks note of a step can be put together after.
  void SetStepObserver(std::function<void(const Decoder&)> observer) { observer_ = std::move(observer); }

  // False after a step broke off in the middle: the other ranks cannot be told anything more.
  bool healthy() const { return !failed_; }
  // Whether a sequence has a state that goes forward only: then each step's tokens of a slot begin at position 0 or go on
  // where the last ones ended, and a position of the sequence cannot be computed again.
  bool forward_only() const { return !spec_.linear_layers().empty(); }
  // Rank 0: tokens of the sequence in `slot` so far.
  uint32_t length(uint32_t slot) const { return lengths_[slot]; }
  uint64_t state_bytes() const { return states_.bytes(); }
  const numa::Arena& state_arena() const { return states_.arena(); }
  uint64_t kv_bytes() const { return cache_.bytes(); }
  const numa::Arena& kv_arena() const { return cache_.arena(); }
  uint64_t kv_tokens() const { return options_.kv_tokens(); }
  const KvCache& cache() const { return cache_; }
  const proto::EngineOptions& options() const { return options_; }
  const proto::ModelSpec& spec() const { return spec_; }
  // This rank's times of the steps since the engine was made or the times were reset.
  const StepTimes& times() const { return decoder_.times(); }
  void ResetTimes() { decoder_.ResetTimes(); }
  Decoder& decoder() { return decoder_; }

 private:
  void Send(const proto::Control& control);
  std::vector<std::vector<uint8_t>> ExchangeTimes();
  std::span<const float> Run(const proto::Step& step);
  void CheckStep(const proto::Step& step) const;

  comm::Communicator& comm_;
  const proto::ModelSpec& spec_;
  const proto::EngineOptions options_;
  KvCache cache_;
  RecurrentState states_;
  Decoder decoder_;
  std::vector<uint32_t> lengths_;  // by slot, on rank 0
  bool leads_ = false;
  bool failed_ = false;
  std::function<void(const Decoder&)> observer_;
  std::vector<float> logits_;
};

}  // namespace onecopy::exec
