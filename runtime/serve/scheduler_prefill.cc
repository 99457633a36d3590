// How the scheduler reads prompts: in which pieces, whose turn it is, and what is asked of their logits.
#include <algorithm>

#include "runtime/serve/scheduler_sequence.h"

namespace onecopy::serve {
namespace {

// Time of decoding between two chunks, as a share of the chunk's.
constexpr double kDecodeShare = 1.0 / 3;
// Of Options::chunk_seconds: chunks that take less grow, those that take more shrink.
constexpr double kShortChunk = 0.75, kLongChunk = 1.25;

uint32_t RoundDown(uint32_t n, uint32_t unit) {
  return n / unit * unit;
}

}  // namespace

uint32_t Scheduler::ChunkBudget() const {
  if (!Decodes()) return limits_.chunk_tokens;
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

// Where the next piece of the prompt ends: after at most `budget` tokens, unless all are of fixed lengths, and where it is
// scored, as many as there may be rows of logits beside those that the step has.
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
    if (budget == 0 || (limits_.one_prompt && step.tokens_size() > 0)) break;
    const uint32_t end = ChunkEnd(*s, budget, rows.size());
    if (end == s->computed) continue;
    // A piece of fixed length that has no room beside others waits for its turn.
    if (limits_.fixed_chunks && step.tokens_size() > 0 &&
        (end - s->computed > budget || (s->scores() && rows.size() + (end - s->computed) > score_rows_)))
      continue;
    // The pages of a prompt were counted when it was admitted; decoding sequences may have taken them since.
    const auto pages = [&](uint32_t n) { return (n + limits_.page_tokens - 1) / limits_.page_tokens; };
    new_pages += pages(end) - pages(s->computed);
    if (!slots_.FreePages(new_pages)) break;
    s->last_turn = ++turns_;
    budget -= std::min(budget, end - s->computed);
    AddChunk(*s, end, &step, &rows);
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

}  // namespace onecopy::serve
