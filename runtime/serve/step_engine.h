// StepEngine: what the scheduler needs of an engine. One of the virtual seams: exec::Engine in a server, something quick in
// tests.
#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "proto/control.pb.h"

namespace onecopy::serve {

class StepEngine {
 public:
  virtual ~StepEngine() = default;

  // As of exec::Engine.
  virtual std::span<const float> Forward(const proto::Step& step) = 0;
  virtual void Release(uint32_t slot) = 0;
  virtual void SharePrefix(uint32_t from, uint32_t to, uint32_t tokens) = 0;
  virtual uint64_t free_pages() const = 0;
  // body(0) … body(n - 1), possibly at once.
  virtual void ForEach(size_t n, const std::function<void(size_t)>& body) = 0;

  struct Limits {
    uint32_t slots;
    uint64_t pages;  // of page_tokens positions, over all sequences
    uint32_t page_tokens;
    uint32_t context;       // positions of one sequence
    uint32_t chunk_tokens;  // most tokens of a step
    uint32_t vocab;
    bool forward_only;  // sequences cannot share a beginning (exec::Engine::forward_only)
    // Prompts are read in pieces that end at multiples of chunk_tokens: how many tokens of its sequence a step has decides by
    // which kernels a token is computed, and so how it is rounded (exec/pieces.h).
    bool fixed_chunks;
    // A step has tokens of one prompt only: which form latent attention takes is decided for a step (shard/latent_forms.h).
    bool one_prompt = false;
  };
  virtual Limits limits() const = 0;
};

}  // namespace onecopy::serve
