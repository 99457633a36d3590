#include "runtime/serve/scheduler.h"

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/base/error.h"
#include "runtime/serve/logprobs.h"
#include "runtime/serve/scheduler_sequence.h"

namespace onecopy::serve {
namespace {

// Decoded tokens of a sequence that made way, which a step decodes again.
constexpr uint32_t kReplayTokens = 32;
// Time of decoding between two steps with chunks, as a share of theirs.
constexpr double kDecodeShare = 1.0 / 3;

}  // namespace

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
  if (!MakeRoomForDecode()) {  // one sequence alone: capacity() is what the cache holds
    End(*running_.front(), FinishReason::kLength);
    return RemoveEnded();
  }
  Batch batch;
  for (const auto& s : running_)
    if (!s->reads()) batch.decoded.push_back(s.get());
  const uint32_t budget = ChunkBudget(batch.decoded.size());
  if (batch.decoded.empty() || decode_owed_ <= 0) AddPrompts(budget, &batch);
  batch.step.set_prompt_tokens(batch.tokens());
  AddDecoded(&batch);
  if (batch.tokens() == 0) {  // no page for the prompt of any of them: the youngest makes way
    if (running_.size() > 1) MakeWay(running_.size() - 1);
    return;
  }
  const Clock::time_point start = options_.now();
  Run(batch);
  const double seconds = Seconds(start, options_.now());
  const uint32_t read = batch.step.prompt_tokens();
  if (!batch.decoded.empty() && read >= budget) AdjustChunk(seconds);
  if (read > 0) {
    // Less where more wait for a chunk than for their next token.
    const auto decode = static_cast<double>(batch.decoded.size());
    const double wait = static_cast<double>(running_.size() + waiting_.size()) - decode;
    decode_owed_ = kDecodeShare * seconds * std::min(1.0, decode / std::max(wait, 1.0));
  } else {
    decode_owed_ = seconds > 0 ? decode_owed_ - seconds : 0;
  }
  for (Sequence* s : batch.read)
    if (!s->reads() && s->request.max_tokens == 0) End(*s, FinishReason::kLength);
  if (observer_ != nullptr) observer_->OnStep(read, batch.tokens() - read, seconds);
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

// Takes the slot of a running sequence away. It waits before all others, and is computed again.
void Scheduler::MakeWay(size_t index) {
  std::unique_ptr<Sequence> s = std::move(running_[index]);
  running_.erase(running_.begin() + static_cast<ptrdiff_t>(index));
  slots_.GiveBack(s->slot);
  s->computed = 0;
  waiting_.push_front(std::move(s));
  if (observer_ != nullptr) observer_->OnMadeWay();
}

// Of the next token of every sequence that decodes.
uint64_t Scheduler::PagesForDecode() const {
  uint64_t pages = 0;
  for (const auto& s : running_) {
    if (s->reads()) continue;
    const uint32_t end = std::min(s->length(), s->computed + kReplayTokens);
    pages += (end + limits_.page_tokens - 1) / limits_.page_tokens -
             (s->computed + limits_.page_tokens - 1) / limits_.page_tokens;
  }
  return pages;
}

// The youngest make way where there is none.
bool Scheduler::MakeRoomForDecode() {
  while (!slots_.FreePages(PagesForDecode())) {
    if (running_.size() == 1) return false;
    MakeWay(running_.size() - 1);
  }
  return true;
}

void Scheduler::AddDecoded(Batch* batch) {
  for (Sequence* s : batch->decoded) {
    const uint32_t end = std::min(s->length(), s->computed + kReplayTokens);
    for (; s->computed < end; ++s->computed) batch->Add(*s, s->computed);
    if (end == s->length()) batch->AddRow(*s, 0);
  }
}

void Scheduler::Run(const Batch& batch) {
  const std::vector<Row>& rows = batch.rows;
  const std::span<const float> logits = engine_.Forward(batch.step);
  struct Choice {
    text::SampleResult sample;
    Logprobs logprobs;
    double mask_seconds = 0, seconds = 0;  // of its thread
  };
  std::vector<Choice> choices(rows.size());
  const Clock::time_point start = options_.now();
  engine_.ForEach(rows.size(), [&](size_t i) {
    const std::span<const float> row = logits.subspan(i * limits_.vocab, limits_.vocab);
    Sequence& s = *rows[i].sequence;
    const Clock::time_point begin = options_.now();
    if (const uint32_t scored = rows[i].prompt_token; scored > 0) {
      choices[i].logprobs = LogprobsOf(row, s.tokens[scored], s.request.top_logprobs);
      choices[i].seconds = Seconds(begin, options_.now());
      return;
    }
    std::span<const uint64_t> allowed;
    if (s.request.filter) {
      allowed = s.request.filter->Allowed();
      choices[i].mask_seconds = Seconds(begin, options_.now());
    }
    choices[i].sample = s.sampler->Sample(row, s.tokens, allowed);
    if (choices[i].sample.status == text::SampleStatus::kOk && s.request.top_logprobs >= 0)
      choices[i].logprobs = LogprobsOf(row, choices[i].sample.token, s.request.top_logprobs);
    choices[i].seconds = Seconds(begin, options_.now());
  });
  // Of the pass's time, the share that its threads spent in masks.
  double masks = 0, all = 0;
  for (const Choice& choice : choices) {
    masks += choice.mask_seconds;
    all += choice.seconds;
  }
  mask_seconds_ = all > 0 ? Seconds(start, options_.now()) * masks / all : 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    Sequence& s = *rows[i].sequence;
    const text::SampleResult& sample = choices[i].sample;
    if (rows[i].prompt_token > 0) {
      s.scored = rows[i].prompt_token;
      s.request.sink->OnPromptLogprobs(choices[i].logprobs);
    } else if (sample.status == text::SampleStatus::kOk) {
      Take(s, sample.token, s.request.top_logprobs >= 0 ? &choices[i].logprobs : nullptr);
    } else if (sample.status == text::SampleStatus::kNoCandidate && s.request.filter) {
      if (s.request.filter->complete()) {  // nothing may follow, and the vocabulary has no token that ends
        End(s, FinishReason::kStop);
        continue;
      }
      End(s, FinishReason::kFailed, "no token can follow: what was asked for leaves none");
    } else {
      End(s, FinishReason::kFailed,
          fmt::format("no token can be chosen after {} tokens: {}", s.length(),
                      text::Describe(sample.status)));
    }
  }
  if (observer_ != nullptr && mask_seconds_ > 0) observer_->OnMasks(mask_seconds_);
}

void Scheduler::Take(Sequence& sequence, int32_t token, const Logprobs* logprobs) {
  const Clock::time_point now = options_.now();
  if (observer_ != nullptr) {
    if (sequence.generated() == 0) {
      observer_->OnFirstToken(Seconds(sequence.added, now));
    } else {
      observer_->OnNextToken(Seconds(sequence.last_token, now));
    }
  }
  sequence.last_token = now;
  sequence.tokens.push_back(token);
  if (!sequence.request.ignore_eos && std::binary_search(end_tokens_.begin(), end_tokens_.end(), token)) {
    if (logprobs != nullptr) sequence.request.sink->OnEndToken(token, *logprobs);
    return End(sequence, FinishReason::kStop);
  }
  if (sequence.request.filter) {
    const Clock::time_point start = options_.now();
    sequence.request.filter->Accept(token);
    mask_seconds_ += Seconds(start, options_.now());
  }
  if (!sequence.request.sink->OnToken(token, logprobs)) return End(sequence, FinishReason::kStop);
  if (sequence.generated() >= sequence.request.max_tokens) End(sequence, FinishReason::kLength);
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
