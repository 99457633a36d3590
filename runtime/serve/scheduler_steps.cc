// The steps of the sequences that run: chunks of prompts, decoded tokens, and what becomes of their logits.
#include <algorithm>
#include <cmath>

#include "runtime/base/error.h"
#include "runtime/serve/logprobs.h"
#include "runtime/serve/scheduler_sequence.h"

namespace onecopy::serve {
namespace {

// Decoded tokens of a sequence that made way, which a step decodes again.
constexpr uint32_t kReplayTokens = 32;
// Time of decoding between two chunks, as a share of the chunk's.
constexpr double kDecodeShare = 1.0 / 3;
// Of Options::chunk_seconds: chunks that take less grow, those that take more shrink.
constexpr double kShortChunk = 0.75, kLongChunk = 1.25;

uint32_t RoundDown(uint32_t n, uint32_t unit) {
  return n / unit * unit;
}

}  // namespace

bool Scheduler::Decodes() const {
  return std::any_of(running_.begin(), running_.end(), [](const auto& s) { return !s->reads(); });
}

uint32_t Scheduler::ChunkBudget() const {
  if (limits_.fixed_chunks || !Decodes()) return limits_.chunk_tokens;
  return std::min(chunk_pages_ * limits_.page_tokens, limits_.chunk_tokens);
}

// A chunk while others decode took so long: the next one may be a page longer, or has to be shorter.
void Scheduler::AdjustChunk(double seconds) {
  if (seconds < kShortChunk * options_.chunk_seconds) {
    if (chunk_pages_ * limits_.page_tokens < limits_.chunk_tokens) ++chunk_pages_;
  } else if (seconds > kLongChunk * options_.chunk_seconds && chunk_pages_ > 1) {
    --chunk_pages_;
  }
}

// Where the next piece of the prompt ends: after at most `budget` tokens, and where it is scored, as many as there may be rows
// of logits beside those that the step has.
uint32_t Scheduler::ChunkEnd(const Sequence& s, uint32_t budget, size_t rows) const {
  if (limits_.fixed_chunks) {
    const uint32_t unit = s.scores() ? score_rows_ : limits_.chunk_tokens;
    return std::min(s.n_prompt, RoundDown(s.computed, unit) + unit);
  }
  if (s.scores()) budget = std::min<uint32_t>(budget, score_rows_ - std::min<size_t>(rows, score_rows_));
  return std::min(s.n_prompt, s.computed + budget);
}

// Puts the tokens up to `end` into the step, and what is asked of their logits.
void Scheduler::AddChunk(Sequence& s, uint32_t end, proto::Step* step, std::vector<Row>* rows) const {
  for (uint32_t p = s.computed; p < end; ++p) {
    const auto row = static_cast<uint32_t>(step->tokens_size());
    step->add_tokens(s.tokens[p]);
    step->add_slots(s.slot);
    step->add_positions(p);
    const bool last = p + 1 == s.n_prompt;
    const bool wanted = last ? s.generated() == 0 && s.request.max_tokens > 0 : s.scores() && p >= s.scored;
    if (!wanted) continue;
    step->add_logit_rows(row);
    rows->push_back({&s, last ? 0 : p + 1});
  }
  s.computed = end;
}

bool Scheduler::RunPrefill() {
  std::vector<Sequence*> readers;
  for (const auto& s : running_) {
    if (!s->reads() || IsReadByAnother(*s)) continue;
    if (s->computed == 0) ShareBest(*s);  // others may have read the beginning of its prompt since it came
    readers.push_back(s.get());
  }
  std::stable_sort(readers.begin(), readers.end(),
                   [](const Sequence* a, const Sequence* b) { return a->last_turn < b->last_turn; });
  const bool chunk = Decodes();
  const uint32_t whole = ChunkBudget();
  uint32_t budget = whole;
  uint64_t new_pages = 0;
  proto::Step step;
  step.set_prefill(true);
  std::vector<Row> rows;
  for (Sequence* s : readers) {
    if (budget == 0) break;
    const uint32_t end = ChunkEnd(*s, budget, rows.size());
    if (end == s->computed) continue;
    // The pages of a prompt were counted when it was admitted; decoding sequences may have taken them since.
    const auto pages = [&](uint32_t n) { return (n + limits_.page_tokens - 1) / limits_.page_tokens; };
    new_pages += pages(end) - pages(s->computed);
    if (!slots_.FreePages(new_pages)) break;
    s->last_turn = ++turns_;
    budget -= std::min(budget, end - s->computed);
    AddChunk(*s, end, &step, &rows);
    if (limits_.fixed_chunks) break;
  }
  if (step.tokens_size() == 0) {  // no page for any of them: the youngest makes way
    if (running_.size() > 1) MakeWay(running_.size() - 1);
    return false;
  }
  const Clock::time_point start = options_.now();
  Run(step, rows);
  const double seconds = Seconds(start, options_.now());
  if (chunk && static_cast<uint32_t>(step.tokens_size()) >= whole) AdjustChunk(seconds);
  for (Sequence* s : readers)
    if (!s->reads() && s->request.max_tokens == 0) End(*s, FinishReason::kLength);
  decode_owed_ = kDecodeShare * seconds;
  if (decode_owed_ == 0) decode_owed_ = 1e-9;  // one step at least
  if (observer_ != nullptr) observer_->OnStep(true, static_cast<size_t>(step.tokens_size()), seconds);
  return true;
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

// Room for the next token of every sequence that decodes; the youngest make way where there is none.
bool Scheduler::MakeRoomForDecode() {
  const auto wanted = [&] {
    uint64_t pages = 0;
    for (const auto& s : running_) {
      if (s->reads()) continue;
      const uint32_t end = std::min(s->length(), s->computed + kReplayTokens);
      pages += (end + limits_.page_tokens - 1) / limits_.page_tokens -
               (s->computed + limits_.page_tokens - 1) / limits_.page_tokens;
    }
    return pages;
  };
  while (!slots_.FreePages(wanted())) {
    if (running_.size() == 1) return false;
    MakeWay(running_.size() - 1);
  }
  return true;
}

bool Scheduler::RunDecode() {
  if (!MakeRoomForDecode()) {  // one sequence alone: capacity() is what the cache holds
    End(*running_.front(), FinishReason::kLength);
    return false;
  }
  proto::Step step;
  std::vector<Row> rows;
  for (const auto& s : running_) {
    if (s->reads()) continue;
    const uint32_t end = std::min(s->length(), s->computed + kReplayTokens);
    for (uint32_t p = s->computed; p < end; ++p) {
      step.add_tokens(s->tokens[p]);
      step.add_slots(s->slot);
      step.add_positions(p);
    }
    s->computed = end;
    if (end < s->length()) continue;
    step.add_logit_rows(static_cast<uint32_t>(step.tokens_size()) - 1);
    rows.push_back({s.get()});
  }
  if (step.tokens_size() == 0) return false;  // all of them have made way
  const Clock::time_point start = options_.now();
  Run(step, rows);
  const double seconds = Seconds(start, options_.now());
  decode_owed_ -= seconds;
  if (seconds == 0) decode_owed_ = 0;
  if (observer_ != nullptr) observer_->OnStep(false, static_cast<size_t>(step.tokens_size()), seconds);
  return true;
}

// What may come next, by row; nothing where all may. In a pass of its own, so that its time is known.
std::vector<std::span<const uint64_t>> Scheduler::Masks(const std::vector<Row>& rows) {
  std::vector<std::span<const uint64_t>> masks(rows.size());
  const auto has_filter = [](const Row& row) {
    return row.prompt_token == 0 && row.sequence->request.filter != nullptr;
  };
  if (std::none_of(rows.begin(), rows.end(), has_filter)) return masks;
  const Clock::time_point start = options_.now();
  engine_.ForEach(rows.size(), [&](size_t i) {
    if (has_filter(rows[i])) masks[i] = rows[i].sequence->request.filter->Allowed();
  });
  mask_seconds_ += Seconds(start, options_.now());
  return masks;
}

// rows: what the step's logits are for, in their order.
void Scheduler::Run(const proto::Step& step, const std::vector<Row>& rows) {
  const std::span<const float> logits = engine_.Forward(step);
  struct Choice {
    text::SampleResult sample;
    Logprobs logprobs;
  };
  std::vector<Choice> choices(rows.size());
  mask_seconds_ = 0;
  const std::vector<std::span<const uint64_t>> masks = Masks(rows);
  engine_.ForEach(rows.size(), [&](size_t i) {
    const std::span<const float> row = logits.subspan(i * limits_.vocab, limits_.vocab);
    Sequence& s = *rows[i].sequence;
    if (const uint32_t scored = rows[i].prompt_token; scored > 0) {
      choices[i].logprobs = LogprobsOf(row, s.tokens[scored], s.request.top_logprobs);
      return;
    }
    choices[i].sample = s.sampler->Sample(row, s.tokens, masks[i]);
    if (choices[i].sample.status == text::SampleStatus::kOk && s.request.top_logprobs >= 0)
      choices[i].logprobs = LogprobsOf(row, choices[i].sample.token, s.request.top_logprobs);
  });
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

}  // namespace onecopy::serve
