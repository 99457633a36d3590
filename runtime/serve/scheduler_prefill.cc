// How the scheduler reads prompts: in which pieces, whose turn it is, and what is asked of their logits.
#include <algorithm>

#include "runtime/serve/scheduler_sequence.h"

namespace onecopy::serve {
namespace {

// Of Options::step_seconds: where a step takes less the next chunk grows, where it takes more it shrinks.
constexpr double kShortStep = 0.75, kLongStep = 1.25;
// Tokens, least and difference: where weights are large and a step reads most experts for some tens of tokens already, a page is
// too much.
constexpr uint32_t kChunkUnit = 16;

uint32_t RoundDown(uint32_t n, uint32_t unit) {
  return n / unit * unit;
}

}  // namespace

// Beside so many sequences that decode.
uint32_t Scheduler::ChunkBudget(size_t decoding) const {
  if (decoding == 0) return limits_.chunk_tokens;
  const auto beside = static_cast<uint32_t>(std::min<size_t>(decoding, limits_.chunk_tokens - 1));
  return std::min(chunk_beside_, limits_.chunk_tokens - beside);
}

// A step with a chunk while others decode took so long: the next one may be a quarter longer, or has to be shorter.
void Scheduler::AdjustChunk(double seconds) {
  const uint32_t change = std::max(kChunkUnit, RoundDown(chunk_beside_ / 4, kChunkUnit));
  if (seconds < kShortStep * options_.step_seconds) {
    chunk_beside_ = std::min(chunk_beside_ + change, limits_.chunk_tokens);
  } else if (seconds > kLongStep * options_.step_seconds) {
    chunk_beside_ = std::max(chunk_beside_, change + kChunkUnit) - change;
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

void Scheduler::AddChunk(Sequence& s, uint32_t end, Batch* batch) const {
  for (uint32_t p = s.computed; p < end; ++p) {
    batch->Add(s, p);
    const bool last = p + 1 == s.n_prompt;
    const bool wanted = last ? s.generated() == 0 && s.request.max_tokens > 0 : s.scores() && p >= s.scored;
    if (wanted) batch->AddRow(s, last ? 0 : p + 1);
  }
  s.computed = end;
  batch->read.push_back(&s);
}

void Scheduler::AddPrompts(uint32_t budget, Batch* batch) {
  std::vector<Sequence*> readers;
  for (const auto& s : running_) {
    if (!s->reads() || IsReadByAnother(*s)) continue;
    if (s->computed == 0) ShareBest(*s);  // others may have read the beginning of its prompt since it came
    readers.push_back(s.get());
  }
  std::stable_sort(readers.begin(), readers.end(),
                   [](const Sequence* a, const Sequence* b) { return a->last_turn < b->last_turn; });
  uint64_t new_pages = PagesForDecode();
  for (Sequence* s : readers) {
    if (budget == 0 || (limits_.one_prompt && batch->tokens() > 0)) break;
    const uint32_t end = ChunkEnd(*s, budget, batch->rows.size());
    if (end == s->computed) continue;
    // A piece of fixed length that has no room beside others waits for its turn.
    if (limits_.fixed_chunks && batch->tokens() > 0 &&
        (end - s->computed > budget ||
         (s->scores() && batch->rows.size() + (end - s->computed) > score_rows_)))
      continue;
    // The pages of a prompt were counted when it was admitted; decoding sequences may have taken them since.
    const auto pages = [&](uint32_t n) { return (n + limits_.page_tokens - 1) / limits_.page_tokens; };
    new_pages += pages(end) - pages(s->computed);
    if (!slots_.FreePages(new_pages)) break;
    s->last_turn = ++turns_;
    budget -= std::min(budget, end - s->computed);
    AddChunk(*s, end, batch);
  }
}

}  // namespace onecopy::serve
