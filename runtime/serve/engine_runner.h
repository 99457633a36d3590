// The engine of all ranks as a StepEngine.
#pragma once

#include "runtime/exec/engine.h"
#include "runtime/exec/thread_team.h"
#include "runtime/serve/step_engine.h"

namespace onecopy::serve {

class EngineRunner : public StepEngine {
 public:
  // The references outlive it. For rank 0's thread.
  EngineRunner(exec::Engine& engine, const exec::ThreadTeam& team, bool fixed_chunks)
      : engine_(engine), team_(team), fixed_chunks_(fixed_chunks) {}

  std::span<const float> Forward(const proto::Step& step) override { return engine_.Forward(step); }
  void Release(uint32_t slot) override { engine_.Release(slot); }
  void SharePrefix(uint32_t from, uint32_t to, uint32_t tokens) override {
    engine_.SharePrefix(from, to, tokens);
  }
  uint64_t free_pages() const override { return engine_.cache().free_pages(); }
  void ForEach(size_t n, const std::function<void(size_t)>& body) override {
    team_.For(n, [&](size_t i, int) { body(i); });
  }
  Limits limits() const override {
    return {engine_.options().slots(),        engine_.cache().n_pages(),
            exec::KvCache::kPageTokens,       engine_.spec().context_length(),
            engine_.options().chunk_tokens(), engine_.spec().vocab_size(),
            engine_.forward_only(),           fixed_chunks_,
            fixed_chunks_ && engine_.spec().kv_lora_rank() > 0};
  }

 private:
  exec::Engine& engine_;
  const exec::ThreadTeam& team_;
  const bool fixed_chunks_;
};

}  // namespace onecopy::serve
