// Scheduler: which tokens of which sequences the next step computes. Continuous batching: sequences come and go between
// steps (Orca, Yu et al. 2022); a step has the next token of every sequence that decodes, and beside them a chunk of prompts,
// for which the weights are read anyway (Sarathi-Serve, Agrawal et al. 2024); keys and values lie in pages (PagedAttention,
// Kwon et al. 2023), and those of prompts are kept for later prompts with the same beginning. Belongs to one thread.
//
// A sequence gets the same tokens whatever runs beside it, whether its prompt's beginning was kept, and after it had to make
// way: a token of a prompt is computed as such and a decoded one as such (proto::Step.prompt_tokens), only keys and values of
// prompt tokens are kept, and what a sequence had decoded before it made way is decoded again. Where pieces of prompts decide
// on kernels (StepEngine::Limits.fixed_chunks), a prompt has the same pieces whatever is read beside them.
//
// Fairness: sequences start in the order they came. Those that are still being read take turns, so a short prompt does not
// wait for a long one; while others decode, a chunk is so short that the step takes about Options::step_seconds, or is one
// piece of fixed length, and between two such steps they decode on their own for a third of the last one's time, or less where
// more sequences wait to be read.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "runtime/serve/sequence.h"
#include "runtime/serve/slot_pool.h"
#include "runtime/serve/step_engine.h"
#include "runtime/text/tokenizer.h"

namespace onecopy::serve {

class SchedulerObserver;

class Scheduler {
 public:
  struct Options {
    uint32_t max_sequences =
        32;  // that have a slot at once; the engine has more slots, for prompts that are kept
    bool keep_prompts = true;
    double step_seconds = 0.4;  // of one that reads prompts while sequences decode
    // Logits of a step at most, where a prompt's log-probabilities are asked for. Every rank has a buffer of that size.
    uint64_t score_logits = 8 << 20;
    std::function<Clock::time_point()> now = [] { return Clock::now(); };
  };

  // The references outlive it. end_tokens: those after which a sequence ends, sorted. observer: may be null.
  Scheduler(StepEngine& engine, std::vector<int32_t> end_tokens, const Options& options,
            SchedulerObserver* observer = nullptr);
  ~Scheduler();

  // A sequence's most tokens, prompt and new ones.
  uint32_t capacity() const { return capacity_; }
  // The prompt is shorter than capacity(). A sequence whose sampling options are out of range fails when its turn comes.
  void Add(SequenceRequest request);
  // Runs one step, if there is anything to do. Errors: as exec::Engine::Forward, after which only FinishAll remains.
  void RunStep();
  bool idle() const { return waiting_.empty() && running_.empty(); }
  // Ends all sequences, with this reason.
  void FinishAll(FinishReason reason, const std::string& error);

  struct Load {
    size_t waiting, running;
    uint64_t pages_in_use;  // by running sequences and prompts that are kept
    uint64_t pages_kept;    // of which by prompts that are kept alone, about
  };
  Load load() const;

 private:
  struct Sequence;
  struct Batch;
  // What a row of a step's logits is for: the sequence's next token, or the log-probability of a token of its prompt.
  struct Row {
    Sequence* sequence;
    uint32_t prompt_token = 0;  // its index; 0: the next token
  };

  void EndCancelled();
  void Admit();
  bool TryAdmit(Sequence& sequence);
  // Pages that the running sequences will take for what they have to read and for one token more.
  uint64_t PagesOwed() const;
  // Tokens of which beginnings that are shared are multiples.
  uint32_t KeepUnit() const { return limits_.fixed_chunks ? limits_.chunk_tokens : limits_.page_tokens; }
  bool Shares() const { return options_.keep_prompts && !limits_.forward_only; }
  void ShareBest(Sequence& sequence);
  bool IsReadByAnother(const Sequence& sequence) const;
  uint64_t PagesForDecode() const;
  bool MakeRoomForDecode();
  void MakeWay(size_t index);
  // Both put tokens into the step, and what is asked of their logits; those of prompts are the first.
  void AddPrompts(uint32_t budget, Batch* batch);
  void AddDecoded(Batch* batch);
  void Run(const Batch& batch);
  uint32_t ChunkEnd(const Sequence& sequence, uint32_t budget, size_t rows) const;
  void AddChunk(Sequence& sequence, uint32_t end, Batch* batch) const;
  // Whether others may have the beginning of its prompt.
  bool Lends(const Sequence& sequence) const;
  void Take(Sequence& sequence, int32_t token, const Logprobs* logprobs);
  void End(Sequence& sequence, FinishReason reason, const std::string& error = {});
  void KeepPrompt(const Sequence& sequence);
  void RemoveEnded();
  uint32_t ChunkBudget(size_t decoding) const;
  void AdjustChunk(double seconds);

  StepEngine& engine_;
  const std::vector<int32_t> end_tokens_;
  const Options options_;
  SchedulerObserver* const observer_;
  const StepEngine::Limits limits_;
  const uint32_t capacity_;
  const uint32_t score_rows_;  // of a step
  SlotPool slots_;
  std::deque<std::unique_ptr<Sequence>> waiting_;
  std::vector<std::unique_ptr<Sequence>> running_;  // in the order they were admitted
  uint64_t turns_ = 0;                              // given to prompts so far
  uint32_t chunk_beside_ = 64;                      // tokens of a chunk while others decode
  double mask_seconds_ = 0;                         // of this step
  double decode_owed_ = 0;  // seconds that sequences decode on their own before the next chunk
};

// What a scheduler does, for metrics. Called on its thread.
class SchedulerObserver {
 public:
  virtual ~SchedulerObserver() = default;
  virtual void OnStep(size_t prompt_tokens, size_t decoded_tokens, double seconds) = 0;
  // How much of a step's time went into what may come next, by grammars.
  virtual void OnMasks(double seconds) = 0;
  virtual void OnFirstToken(double seconds_since_added) = 0;
  virtual void OnNextToken(double seconds_since_last) = 0;
  virtual void OnMadeWay() = 0;
  virtual void OnFinish(const Finish& finish, double seconds_since_added) = 0;
};

}  // namespace onecopy::serve
