// The gated delta rule of every table against the recurrence in float64.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "tests/unit/kernels/test_tables.h"

namespace onecopy::kernels {
namespace {

class GatedDeltaTest : public PerTable {
 protected:
  static constexpr size_t kGap = 3;  // floats between tokens

  struct Case {
    size_t tokens, key_dim;
    std::vector<float> q, k, v, gates, state;
    Case(size_t n, size_t dim, uint32_t seed) : tokens(n), key_dim(dim) {
      q = Unit(n, dim, seed);
      k = Unit(n, dim, seed + 1);
      v = RandomVector(n * (kDeltaValues + kGap), seed + 2);
      gates = RandomVector(2 * n, seed + 3);
      for (float& g : gates) g = 1 / (1 + std::exp(-3 * g));
      state = RandomVector(dim * kDeltaValues, seed + 4);
    }
    // Rows of length 1.
    static std::vector<float> Unit(size_t n, size_t dim, uint32_t seed) {
      std::vector<float> x = RandomVector(n * (dim + kGap), seed);
      for (size_t t = 0; t < n; ++t) {
        double sum = 0;
        for (size_t i = 0; i < dim; ++i) sum += double{x[t * (dim + kGap) + i]} * x[t * (dim + kGap) + i];
        for (size_t i = 0; i < dim; ++i) x[t * (dim + kGap) + i] /= static_cast<float>(std::sqrt(sum));
      }
      return x;
    }
  };

  // Tokens [begin, end), in place of v.
  void Run(Case* c, size_t begin, size_t end) const {
    GatedDelta run = {};
    run.n_tokens = end - begin;
    run.key_dim = c->key_dim;
    run.qk_stride = c->key_dim + kGap;
    run.q = c->q.data() + begin * run.qk_stride;
    run.k = c->k.data() + begin * run.qk_stride;
    run.v_stride = run.out_stride = kDeltaValues + kGap;
    run.out = c->v.data() + begin * run.out_stride;
    run.v = run.out;
    run.gate_stride = 2;
    run.decay = c->gates.data() + 2 * begin;
    run.beta = run.decay + 1;
    run.state = c->state.data();
    table_->gated_delta(run);
  }
};

TEST_P(GatedDeltaTest, IsTheRecurrence) {
  for (const auto& [tokens, dim] :
       {std::pair<size_t, size_t>{1, 1}, {1, 32}, {3, 17}, {70, 64}, {200, 128}}) {
    SCOPED_TRACE(std::to_string(tokens) + " tokens, keys of " + std::to_string(dim));
    Case c(tokens, dim, 7);
    std::vector<double> state(c.state.begin(), c.state.end());
    std::vector<double> want(tokens * kDeltaValues);
    for (size_t t = 0; t < tokens; ++t) {
      const float *q = &c.q[t * (dim + kGap)], *k = &c.k[t * (dim + kGap)];
      for (size_t j = 0; j < kDeltaValues; ++j) {
        double read = 0;
        for (size_t i = 0; i < dim; ++i) read += k[i] * (state[i * kDeltaValues + j] *= c.gates[2 * t]);
        const double delta = (c.v[t * (kDeltaValues + kGap) + j] - read) * c.gates[2 * t + 1];
        for (size_t i = 0; i < dim; ++i)
          want[t * kDeltaValues + j] += q[i] * (state[i * kDeltaValues + j] += k[i] * delta);
      }
    }
    const std::vector<float> v = c.v;
    Run(&c, 0, tokens);
    // Keys have length 1, so no error grows: each token adds a few roundings of sums of dim terms of a state below 4.
    const double bound = 4 * static_cast<double>(dim + 8) * 0x1p-24;
    for (size_t t = 0; t < tokens; ++t) {
      for (size_t j = 0; j < kDeltaValues; ++j)
        EXPECT_NEAR(c.v[t * (kDeltaValues + kGap) + j], want[t * kDeltaValues + j], bound) << t << " " << j;
      for (size_t j = kDeltaValues; j < kDeltaValues + kGap; ++j)
        EXPECT_EQ(c.v[t * (kDeltaValues + kGap) + j], v[t * (kDeltaValues + kGap) + j]);
    }
    for (size_t i = 0; i < c.state.size(); ++i) EXPECT_NEAR(c.state[i], state[i], bound) << i;
  }
}

TEST_P(GatedDeltaTest, CutsIntoCallsDoNotChangeABit) {
  Case whole(50, 96, 3), cut = whole;
  Run(&whole, 0, 50);
  for (const auto& [begin, end] : {std::pair<size_t, size_t>{0, 1}, {1, 14}, {14, 15}, {15, 50}})
    Run(&cut, begin, end);
  EXPECT_EQ(std::memcmp(whole.v.data(), cut.v.data(), whole.v.size() * sizeof(float)), 0);
  EXPECT_EQ(std::memcmp(whole.state.data(), cut.state.data(), whole.state.size() * sizeof(float)), 0);
}

INSTANTIATE_TEST_SUITE_P(Tables, GatedDeltaTest, ::testing::ValuesIn(TableEntries()), TableName);

}  // namespace
}  // namespace onecopy::kernels
