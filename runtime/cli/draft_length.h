// DraftLength: how many guessed tokens a step should verify beside its own. Either always so many, or as many as pay, by
// what was measured so far: a step's time grows with its tokens (each goes to experts of its own), and a guess is good for
// nothing after its first wrong token. Not thread-safe.
#pragma once

#include <cstdint>

namespace onecopy::cli {

class DraftLength {
 public:
  // A step of few tokens: from some number on the exchange between ranks may round otherwise (comm::kLeastBf16Rows), and
  // the tokens would not be the same.
  static constexpr uint32_t kMost = 6;

  // So many in each step, at most kMost; 0: none.
  static DraftLength Always(uint32_t n) { return DraftLength(false, n < kMost ? n : kMost); }
  static DraftLength AsPays() { return DraftLength(true, kMost); }

  // False where no step ever drafts.
  bool drafts() const { return n_ > 0; }
  uint32_t Next() const;
  // A step of 1 + drafted tokens took so long.
  void ObserveStep(uint32_t drafted, double seconds);
  // Of `tried` guessed tokens, all but perhaps the last were right. Guesses that were not verified count too, once the
  // token is known.
  void ObserveGuess(uint32_t tried, uint32_t right);

 private:
  DraftLength(bool as_pays, uint32_t n) : as_pays_(as_pays), n_(n) {}

  bool as_pays_;
  uint32_t n_;
  double step_seconds_ = 0;  // of one token; 0: not measured yet
  double growth_ =
      0.25;  // of a step's time by a further token, as a share of step_seconds_; a guess until measured
  bool growth_measured_ = false;
  double tried_ = 4,
         right_ = 2;  // guessed tokens whose predecessors were right; the weight of the past falls
};

}  // namespace onecopy::cli
