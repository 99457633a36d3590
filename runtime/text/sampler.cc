#include "runtime/text/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <string>

#include "runtime/base/error.h"

namespace onecopy::text {
namespace {

void CheckOptions(const SamplerOptions& options, int32_t vocab_size) {
  std::string wrong;
  const auto require = [&wrong](bool holds, const std::string& what) {
    if (!holds) wrong += (wrong.empty() ? "" : "; ") + what;
  };
  // Written so that NaN fails.
  require(options.temperature >= 0 && std::isfinite(options.temperature),
          fmt::format("temperature is {}, expected 0 or more", options.temperature));
  require(options.top_k >= 0, fmt::format("top_k is {}, expected 0 (off) or more", options.top_k));
  require(options.top_p > 0 && options.top_p <= 1,
          fmt::format("top_p is {}, expected more than 0, up to 1", options.top_p));
  require(options.min_p >= 0 && options.min_p <= 1,
          fmt::format("min_p is {}, expected 0 to 1", options.min_p));
  require(options.repetition_penalty > 0 && std::isfinite(options.repetition_penalty),
          fmt::format("repetition_penalty is {}, expected more than 0", options.repetition_penalty));
  require(std::isfinite(options.presence_penalty),
          fmt::format("presence_penalty is {}, expected a finite number", options.presence_penalty));
  require(std::isfinite(options.frequency_penalty),
          fmt::format("frequency_penalty is {}, expected a finite number", options.frequency_penalty));
  require(options.penalty_last_n >= -1,
          fmt::format("penalty_last_n is {}, expected -1 (all) or more", options.penalty_last_n));
  for (const auto& [id, bias] : options.logit_bias) {
    require(id >= 0 && id < vocab_size,
            fmt::format("logit_bias names token {}, expected 0 to {}", id, vocab_size - 1));
    require(bias < std::numeric_limits<float>::infinity(),
            fmt::format("logit_bias of token {} is {}", id, bias));
  }
  if (!wrong.empty()) Fail(ErrorCode::kUsage, "sampling options are out of range: {}", wrong);
}

}  // namespace

double ExpOfNegative(double x) {
  if (x < -708.0) return 0.0;  // below the normal numbers, where nothing can be drawn any more
  // x = k ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, of which k times the first is exact.
  constexpr double kLog2E = 0x1.71547652b82fep0, kLn2High = 0x1.62e42fefa0000p-1,
                   kLn2Low = 0x1.cf79abc9e3b39p-40;
  const auto k = static_cast<int64_t>(x * kLog2E - 0.5);
  const auto kd = static_cast<double>(k);
  const double r = (x - kd * kLn2High) - kd * kLn2Low;
  // Taylor: r^14 / 14! is below 2^-53 / 300.
  constexpr double kInverseFactorials[] = {
      1.0 / 6227020800, 1.0 / 479001600, 1.0 / 39916800, 1.0 / 3628800, 1.0 / 362880, 1.0 / 40320, 1.0 / 5040,
      1.0 / 720,        1.0 / 120,       1.0 / 24,       1.0 / 6,       1.0 / 2,      1.0,         1.0};
  double sum = 0;
  for (const double coefficient : kInverseFactorials) sum = sum * r + coefficient;
  return sum * std::bit_cast<double>(static_cast<uint64_t>(k + 1023) << 52);
}

const char* Describe(SampleStatus status) {
  switch (status) {
    case SampleStatus::kOk:
      return "ok";
    case SampleStatus::kNotANumber:
      return "a logit is NaN or infinite: the model's weights or the arithmetic are broken";
    case SampleStatus::kNoCandidate:
      return "every token is forbidden: all logits are minus infinity";
    case SampleStatus::kWrongSize:
      return "the number of logits is not the size of the vocabulary";
  }
  return "unknown";
}

Sampler::Sampler(SamplerOptions options, int32_t vocab_size)
    : options_(std::move(options)), random_(Pcg32::FromSeed(options_.seed)) {
  CheckOptions(options_, vocab_size);
  logits_.resize(vocab_size);
  counts_.resize(vocab_size);
  candidates_.reserve(options_.temperature > 0 ? vocab_size : 0);
}

SampleResult Sampler::Sample(std::span<const float> logits, std::span<const int32_t> history,
                             std::span<const uint64_t> allowed) {
  if (logits.size() != logits_.size()) return {SampleStatus::kWrongSize};
  std::copy(logits.begin(), logits.end(), logits_.begin());
  if (!allowed.empty()) Forbid(allowed);
  ApplyBias();
  ApplyPenalties(history);

  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  int32_t best = -1;
  float largest = -kInfinity;
  for (size_t i = 0; i < logits_.size(); ++i) {
    if (!(logits_[i] < kInfinity)) return {SampleStatus::kNotANumber};
    if (logits_[i] > largest) {
      largest = logits_[i];
      best = static_cast<int32_t>(i);
    }
  }
  if (best < 0) return {SampleStatus::kNoCandidate};
  if (options_.temperature == 0) return {SampleStatus::kOk, best};

  FindCandidates();
  const double total = ComputeWeights(largest);
  if (options_.top_p < 1) KeepTopP(total);
  if (options_.min_p > 0) {
    // The largest weight is exp(0) = 1.
    std::erase_if(candidates_,
                  [this](const Candidate& c) { return c.weight < static_cast<double>(options_.min_p); });
  }
  return {SampleStatus::kOk, Draw()};
}

void Sampler::Forbid(std::span<const uint64_t> allowed) {
  constexpr size_t kBits = 64;
  for (size_t i = 0; i < logits_.size(); ++i) {
    const bool may = i / kBits < allowed.size() && (allowed[i / kBits] >> (i % kBits) & 1) != 0;
    if (!may) logits_[i] = -std::numeric_limits<float>::infinity();
  }
}

void Sampler::ApplyBias() {
  for (const auto& [id, bias] : options_.logit_bias) logits_[id] += bias;
}

// Linear in the history: counts_ has an entry per token, and those touched are set back to zero on the way.
void Sampler::ApplyPenalties(std::span<const int32_t> history) {
  const bool off =
      options_.repetition_penalty == 1 && options_.presence_penalty == 0 && options_.frequency_penalty == 0;
  if (off) return;
  if (options_.penalty_last_n >= 0) {
    history = history.last(std::min<size_t>(history.size(), static_cast<size_t>(options_.penalty_last_n)));
  }
  const auto known = [this](int32_t id) { return id >= 0 && static_cast<size_t>(id) < counts_.size(); };
  for (const int32_t id : history) {
    if (known(id)) ++counts_[id];
  }
  for (const int32_t id : history) {
    if (!known(id) || counts_[id] == 0) continue;
    const auto count = static_cast<float>(std::exchange(counts_[id], 0));
    float& logit = logits_[id];
    logit = logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
    logit -= count * options_.frequency_penalty + options_.presence_penalty;
  }
}

// All that are not forbidden, or the top_k largest of them, in order of ids. A heap of those that were the largest so far has
// the least of them in front, which most tokens of a vocabulary do not pass: one comparison each.
void Sampler::FindCandidates() {
  const size_t k = options_.top_k > 0 ? static_cast<size_t>(options_.top_k) : SIZE_MAX;
  float least = -std::numeric_limits<float>::infinity();
  candidates_.clear();
  for (size_t i = 0; i < logits_.size(); ++i) {
    if (!(logits_[i] > least)) continue;
    const Candidate candidate = {logits_[i], static_cast<int32_t>(i), 0};
    if (candidates_.size() < k) {
      candidates_.push_back(candidate);
      if (candidates_.size() < k) continue;
      std::make_heap(candidates_.begin(), candidates_.end(), LargerFirst);
    } else {
      // Of equals the later one comes last, and goes first.
      std::pop_heap(candidates_.begin(), candidates_.end(), LargerFirst);
      candidates_.back() = candidate;
      std::push_heap(candidates_.begin(), candidates_.end(), LargerFirst);
    }
    least = candidates_.front().logit;
  }
  if (candidates_.size() < k) return;
  // The order of a heap depends on the library; ids are the same everywhere.
  std::sort(candidates_.begin(), candidates_.end(),
            [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
}

double Sampler::ComputeWeights(float largest) {
  double total = 0;
  for (Candidate& c : candidates_) {
    c.weight = ExpOfNegative((static_cast<double>(c.logit) - largest) / options_.temperature);
    total += c.weight;
  }
  return total;
}

// Quickselect by mass rather than by count: finds the last token that is kept in linear time, where sorting the 10 000
// tokens that a flat distribution needs takes ten times as long. Written out, as the order in which std:: algorithms
// leave elements, and so the rounding of the sums, depends on the library.
void Sampler::KeepTopP(double total) {
  ranked_ = candidates_;
  double missing = total * options_.top_p;
  size_t begin = 0, end = ranked_.size();  // all before begin are kept, none from end on
  while (end - begin > 1) {
    const auto [pivot, mass] = PartitionRanked(begin, end);
    if (mass < missing) {
      missing -= mass;
      begin = pivot + 1;
    } else if (mass - ranked_[pivot].weight < missing) {
      begin = pivot;
      break;
    } else {
      end = pivot;
    }
  }
  // Rounding may leave a little of `missing` after the last.
  const Candidate last = ranked_[begin < end ? begin : begin - 1];
  std::erase_if(candidates_, [&last](const Candidate& c) { return LargerFirst(last, c); });
}

Sampler::Pivot Sampler::PartitionRanked(size_t begin, size_t end) {
  const auto at = [this](size_t i) -> Candidate& { return ranked_[i]; };
  // The median of three goes last, and back to its place at the end.
  size_t low = begin, middle = begin + (end - begin) / 2, high = end - 1;
  if (LargerFirst(at(middle), at(low))) std::swap(low, middle);
  if (LargerFirst(at(high), at(low))) std::swap(high, low);
  if (LargerFirst(at(high), at(middle))) std::swap(high, middle);
  std::swap(at(middle), at(end - 1));
  const Candidate pivot = at(end - 1);
  size_t place = begin;
  double mass = pivot.weight;
  for (size_t i = begin; i + 1 < end; ++i) {
    if (!LargerFirst(at(i), pivot)) continue;
    mass += at(i).weight;
    std::swap(at(i), at(place++));
  }
  std::swap(at(place), at(end - 1));
  return {place, mass};
}

int32_t Sampler::Draw() {
  double total = 0;
  for (const Candidate& c : candidates_) total += c.weight;
  const double target = random_.NextDouble() * total;
  double sum = 0;
  int32_t last = candidates_.front().id;
  for (const Candidate& c : candidates_) {
    if (c.weight == 0) continue;
    sum += c.weight;
    last = c.id;
    if (target < sum) break;
  }
  return last;
}

}  // namespace onecopy::text
