// Sampler: the next token from a step's logits. One per sequence; not thread-safe. The same options, seed,
// logits and history give the same tokens on every machine: own generator, own exponential, sums in a fixed
// order.
//
// The steps, in this order (that of Hugging Face; llama.cpp scales by the temperature last, which makes top-p
// and min-p see other probabilities):
//   1. tokens that are not allowed are out; logit bias: added.
//   2. penalties over the last penalty_last_n tokens of the history, prompt included: repetition (a positive
//   logit is
//      divided, a negative one multiplied; Keskar et al. 2019), then frequency x count and presence,
//      subtracted (OpenAI).
//   3. temperature 0: the largest logit, of equal ones the lowest id. Else logits / temperature.
//   4. top-k: the k largest, of equal ones the lower ids.
//   5. top-p: the fewest of the largest whose probabilities, among those left, reach p (Holtzman et al.
//   2020).
//   6. min-p: those with at least min_p times the largest probability (Nguyen et al. 2024).
//   7. a draw among those left. At least the largest is always left.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "runtime/text/pcg32.h"

namespace onecopy::text {

// The defaults change nothing: a plain draw from the model's distribution.
struct SamplerOptions {
  float temperature = 1.0f;             // >= 0
  int32_t top_k = 0;                    // 0: off
  float top_p = 1.0f;                   // (0, 1]; 1: off
  float min_p = 0.0f;                   // [0, 1]; 0: off
  float repetition_penalty = 1.0f;      // > 0; 1: off
  float presence_penalty = 0.0f;        // finite; 0: off
  float frequency_penalty = 0.0f;       // finite; 0: off
  int32_t penalty_last_n = -1;          // tokens of history that count; -1: all
  std::map<int32_t, float> logit_bias;  // -infinity forbids a token
  uint64_t seed = 0;
};

// A status, as the step loop does not throw.
enum class SampleStatus {
  kOk,
  kNotANumber,   // a logit is NaN or +infinity: the weights or the arithmetic are broken
  kNoCandidate,  // every logit is -infinity
  kWrongSize,    // there are not vocab_size logits
};
const char* Describe(SampleStatus status);

struct SampleResult {
  SampleStatus status = SampleStatus::kOk;
  int32_t token = -1;  // -1 unless kOk
};

class Sampler {
 public:
  // vocab_size: the number of logits. Errors: kUsage, naming every option that is out of range.
  Sampler(SamplerOptions options, int32_t vocab_size);

  // logits: [vocab_size] f32. history: the sequence so far, oldest first; ids past the vocabulary are
  // ignored. allowed: a bit for each token that may be taken, lowest first, none behind the last word; empty: all may.
  SampleResult Sample(std::span<const float> logits, std::span<const int32_t> history,
                      std::span<const uint64_t> allowed = {});

  const SamplerOptions& options() const { return options_; }

 private:
  struct Candidate {
    float logit;
    int32_t id;
    double weight;  // exp((logit - largest) / temperature)
  };
  static bool LargerFirst(const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  }

  void Forbid(std::span<const uint64_t> allowed);
  void ApplyBias();
  void ApplyPenalties(std::span<const int32_t> history);
  void FindCandidates();
  double ComputeWeights(float largest);
  void KeepTopP(double total);
  // Orders ranked_[begin, end) around one of it: those before it are larger. mass: of it and those before it.
  struct Pivot {
    size_t index;
    double mass;
  };
  Pivot PartitionRanked(size_t begin, size_t end);
  int32_t Draw();

  SamplerOptions options_;
  Pcg32 random_;
  std::vector<float> logits_;          // [vocab_size], after bias and penalties
  std::vector<uint32_t> counts_;       // [vocab_size], zero between calls
  std::vector<Candidate> candidates_;  // in order of ids
  std::vector<Candidate> ranked_;      // the same, while top-p looks for the last to keep
};

// exp(x) for x <= 0 within 2 ulp, from +, -, * only: libm's differs between machines in the last bit.
double ExpOfNegative(double x);

}  // namespace onecopy::text
