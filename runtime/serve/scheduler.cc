// Which sequences run: admission, prompts that are kept and shared, making room, and how a sequence ends.
#include "runtime/serve/scheduler.h"

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/serve/scheduler_sequence.h"

namespace onecopy::serve {

Scheduler::Scheduler(StepEngine& engine, std::vector<int32_t> end_tokens, const Options& options,
                     SchedulerObserver* observer)
    : engine_(engine),
      end_tokens_(std::move(end_tokens)),
      options_(options),
      observer_(observer),
      limits_(engine.limits()),
      capacity_(
          static_cast<uint32_t>(std::min<uint64_t>(limits_.context, limits_.pages * limits_.page_tokens))),
      score_rows_(static_cast<uint32_t>(
          std::clamp<uint64_t>(options.score_logits / limits_.vocab, 1, limits_.chunk_tokens))),
      slots_(engine, KeepUnit()) {
  ONECOPY_CHECK(options_.max_sequences > 0 && options_.max_sequences <= limits_.slots);
}

Scheduler::~Scheduler() = default;

void Scheduler::Add(SequenceRequest request) {
  ONECOPY_CHECK(!request.prompt.empty() && request.prompt.size() < capacity_);
  request.max_tokens = std::min(request.max_tokens, capacity_ - static_cast<uint32_t>(request.prompt.size()));
  waiting_.push_back(std::make_unique<Sequence>(std::move(request), options_.now()));
}

Scheduler::Load Scheduler::load() const {
  Load load = {waiting_.size(), running_.size(), limits_.pages - engine_.free_pages(), 0};
  uint64_t running = 0;
  for (const auto& s : running_) running += (s->computed + limits_.page_tokens - 1) / limits_.page_tokens;
  load.pages_kept = load.pages_in_use > running ? load.pages_in_use - running : 0;
  return load;
}

void Scheduler::RunStep() {
  EndCancelled();
  Admit();
  if (running_.empty()) return;
  const bool reads = std::any_of(running_.begin(), running_.end(), [](const auto& s) { return s->reads(); });
  const bool decodes = Decodes();
  if (reads && (!decodes || decode_owed_ <= 0)) {
    RunPrefill();
  } else if (decodes) {
    RunDecode();
  }
  RemoveEnded();
}

void Scheduler::EndCancelled() {
  const Clock::time_point now = options_.now();
  const auto end_if = [&](Sequence& s) {
    if (s.request.sink->cancelled()) {
      End(s, FinishReason::kCancelled);
    } else if (s.request.deadline && now >= *s.request.deadline) {
      End(s, FinishReason::kDeadline);
    }
  };
  for (const auto& s : running_) end_if(*s);
  for (const auto& s : waiting_) end_if(*s);
  std::erase_if(waiting_, [](const auto& s) { return s->ended; });
  RemoveEnded();
}

void Scheduler::RemoveEnded() {
  for (const auto& s : running_) {
    if (!s->ended) continue;
    KeepPrompt(*s);
    slots_.GiveBack(s->slot);
  }
  std::erase_if(running_, [](const auto& s) { return s->ended; });
}

uint64_t Scheduler::PagesOwed() const {
  uint64_t owed = 0;
  const auto pages = [&](uint64_t tokens) {
    return (tokens + limits_.page_tokens - 1) / limits_.page_tokens;
  };
  for (const auto& s : running_) owed += pages(s->length() + 1ull) - pages(s->computed);
  return owed;
}

void Scheduler::Admit() {
  while (!waiting_.empty() && running_.size() < options_.max_sequences) {
    Sequence& next = *waiting_.front();
    try {
      if (!next.sampler) next.sampler.emplace(next.request.sampling, static_cast<int32_t>(limits_.vocab));
    } catch (const Error& error) {
      End(next, FinishReason::kFailed, error.what());
      waiting_.pop_front();
      continue;
    }
    if (!TryAdmit(next)) return;
    running_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
  }
}

// Gives the sequence a slot, and the beginning of its prompt where that is known.
bool Scheduler::TryAdmit(Sequence& sequence) {
  sequence.slot = slots_.Take();
  sequence.computed = sequence.cached = 0;
  if (!IsReadByAnother(sequence)) ShareBest(sequence);
  const uint64_t pages = (sequence.length() + uint64_t{limits_.page_tokens}) / limits_.page_tokens -
                         sequence.computed / limits_.page_tokens;
  if (slots_.FreePages(PagesOwed() + pages)) return true;
  slots_.GiveBack(sequence.slot);
  return false;
}

// Where a table has another kernel for many tokens, prompts that are scored are read in other pieces than the others.
bool Scheduler::Lends(const Sequence& sequence) const {
  return !(limits_.fixed_chunks && sequence.scores());
}

void Scheduler::ShareBest(Sequence& sequence) {
  if (!Shares() || sequence.scores()) return;
  // The last token of the prompt is computed in any case, for its logits.
  const std::span<const int32_t> prompt(sequence.tokens.data(), sequence.n_prompt);
  const uint32_t most = sequence.n_prompt - 1;
  SlotPool::Beginning best = slots_.FindKept(prompt, most);
  for (const auto& s : running_) {
    if (s.get() == &sequence || !Lends(*s)) continue;
    const uint32_t common =
        slots_.Common(prompt.first(most), std::span(s->tokens).first(std::min(s->computed, s->n_prompt)));
    if (common > best.tokens) best = {s->slot, common};
  }
  if (best.tokens == 0) return;
  engine_.SharePrefix(best.slot, sequence.slot, best.tokens);
  sequence.computed = sequence.cached = best.tokens;
}

// Whether a sequence before this one reads the same beginning just now, and is to be waited for.
bool Scheduler::IsReadByAnother(const Sequence& sequence) const {
  if (sequence.computed > 0 || !Shares() || sequence.scores()) return false;
  const std::span<const int32_t> prompt(sequence.tokens.data(), sequence.n_prompt - 1);
  for (const auto& other : running_) {
    if (other.get() == &sequence) return false;
    if (!Lends(*other)) continue;
    if (slots_.Common(prompt, std::span(other->tokens).first(other->n_prompt)) > other->computed) return true;
  }
  return false;
}

void Scheduler::KeepPrompt(const Sequence& sequence) {
  if (!Shares() || limits_.slots == options_.max_sequences || !Lends(sequence)) return;
  slots_.Keep(sequence.slot,
              std::span(sequence.tokens).first(std::min(sequence.computed, sequence.n_prompt)));
}

void Scheduler::End(Sequence& sequence, FinishReason reason, const std::string& error) {
  if (sequence.ended) return;
  sequence.ended = true;
  const Finish finish = {reason, error, sequence.n_prompt, sequence.cached, sequence.generated()};
  if (observer_ != nullptr) observer_->OnFinish(finish, Seconds(sequence.added, options_.now()));
  sequence.request.sink->OnFinish(finish);
}

void Scheduler::FinishAll(FinishReason reason, const std::string& error) {
  for (const auto& s : running_) End(*s, reason, error);
  for (const auto& s : waiting_) End(*s, reason, error);
  running_.clear();
  waiting_.clear();
}

}  // namespace onecopy::serve
