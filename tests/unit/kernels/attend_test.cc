// Attention of every table against softmax(q k) v in float64, over cache elements as the table stores them.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "tests/unit/kernels/test_tables.h"

namespace onecopy::kernels {
namespace {

struct Shape {
  size_t heads, head_dim, v_dim, positions;
};

// Rows of a cache in the table's element type, and the same as float.
class Cache {
 public:
  Cache(const KernelTable& table, size_t rows, size_t dim, size_t stride, uint32_t seed)
      : row_bytes_(KvRowBytes(table.kv_type, stride)),
        bytes_((rows - 1) * row_bytes_ + KvRowBytes(table.kv_type, dim)) {
    const std::vector<float> values = RandomVector(rows * dim, seed);
    for (size_t r = 0; r < rows; ++r) {
      uint8_t* row = bytes_.get() + r * row_bytes_;
      table.store_kv(&values[r * dim], dim, row);
      const std::vector<float> decoded = DecodeRow(table.kv_type, row, dim);
      seen_.insert(seen_.end(), decoded.begin(), decoded.end());
    }
  }
  const void* Row(size_t row) const { return bytes_.get() + row * row_bytes_; }
  const std::vector<float>& seen() const { return seen_; }

 private:
  size_t row_bytes_;
  AlignedBytes bytes_;
  std::vector<float> seen_;
};

class Attend : public PerCache {
 protected:
  // Runs the positions in pieces that end at `cuts`, and compares with float64.
  void Check(const Shape& shape, const std::vector<size_t>& cuts) {
    const auto [heads, head_dim, v_dim, positions] = shape;
    const Cache k(*table_, positions, head_dim, head_dim + 24, 1), v(*table_, positions, v_dim, v_dim + 3, 2);
    const std::vector<float> q =
        RandomVector(heads * head_dim, 3, 2.0f / std::sqrt(static_cast<float>(head_dim)));
    std::vector<float> acc(heads * v_dim, 0.0f);
    std::vector<SoftmaxState> state(heads, {-std::numeric_limits<float>::infinity(), 0.0f});
    size_t begin = 0;
    for (const size_t end : cuts) {
      std::vector<float> scratch(heads * (end - begin));
      table_->attend(q.data(), heads, head_dim, k.Row(begin), head_dim + 24, v.Row(begin), v_dim, v_dim + 3,
                     end - begin, end < positions ? k.Row(end) : nullptr, state.data(), acc.data(),
                     scratch.data());
      begin = end;
    }
    for (size_t h = 0; h < heads; ++h)
      CheckHead(shape, h, &q[h * head_dim], k.seen(), v.seen(), state[h], &acc[h * v_dim]);
  }

  static void CheckHead(const Shape& shape, size_t head, const float* q, const std::vector<float>& k,
                        const std::vector<float>& v, const SoftmaxState& state, const float* acc) {
    std::vector<double> weights(shape.positions);
    double score_error = 0;
    for (size_t p = 0; p < shape.positions; ++p) {
      double norm = 0;
      for (size_t i = 0; i < shape.head_dim; ++i) {
        const double product = static_cast<double>(q[i]) * k[p * shape.head_dim + i];
        weights[p] += product;
        norm += std::fabs(product);
      }
      const size_t roundings = shape.head_dim / 8 + 4;
      score_error = std::max(score_error, norm * static_cast<double>(roundings) / (1 << 24));
    }
    const double max = *std::max_element(weights.begin(), weights.end());
    EXPECT_NEAR(state.max, max, score_error);
    double sum = 0;
    for (double& weight : weights) sum += weight = std::exp(weight - max);
    for (size_t i = 0; i < shape.v_dim; ++i) {
      double expected = 0, norm = 0;
      for (size_t p = 0; p < shape.positions; ++p) {
        const double term = weights[p] / sum * v[p * shape.v_dim + i];
        expected += term;
        norm += std::fabs(term);
      }
      // An error of a score is a relative error of its weight, above and below the line; then the sums'
      // roundings.
      const double tolerance =
          norm * (2 * score_error + static_cast<double>(shape.positions + 16) / (1 << 24));
      ASSERT_NEAR(acc[i] / state.sum, expected, tolerance) << "head " << head << " of " << shape.heads << ", "
                                                           << shape.positions << " positions, column " << i;
    }
  }
};

TEST_P(Attend, EqualsFloat64ForOddShapes) {
  for (const size_t heads : {1, 3, 4, 7, 8}) {
    for (const size_t positions : {1, 2, 15, 17, 33, 70}) {
      Check({heads, 64, 64, positions}, {positions});
      Check({heads, 20, 13, positions}, {positions});
    }
  }
}

TEST_P(Attend, EqualsFloat64ForModelShapes) {
  Check({8, 128, 128, 300}, {300});
  Check({5, 80, 80, 300}, {300});
  Check({16, 576, 512, 100}, {100});  // MLA: the latent and its rotary part
  Check({4, 192, 128, 40}, {40});
  Check({2, 96, 96, 70}, {70});
}

TEST_P(Attend, PiecesOfTheCacheAddUp) {
  Check({6, 64, 64, 90}, {1, 2, 33, 33, 90});
  Check({4, 128, 96, 90}, {45, 90});
}

// The first piece has tiny scores, the second huge ones: the rescaling must not overflow, nor divide by zero.
TEST_P(Attend, LargeScoresDoNotOverflow) {
  const size_t dim = 8;
  // Values that any cache has exactly.
  const std::vector<float> small(dim, -127.0f), large(dim, 127.0f), one(dim, 127.0f), two(dim, 254.0f),
      q(dim, 4.0f);
  std::vector<uint8_t> k[2], v[2];
  for (int i = 0; i < 2; ++i) {
    k[i].resize(KvRowBytes(table_->kv_type, dim));
    v[i].resize(k[i].size());
    table_->store_kv(i == 0 ? small.data() : large.data(), dim, k[i].data());
    table_->store_kv(i == 0 ? one.data() : two.data(), dim, v[i].data());
  }
  SoftmaxState state = {-std::numeric_limits<float>::infinity(), 0.0f};
  std::vector<float> acc(dim, 0.0f);
  float scratch;
  for (int i = 0; i < 2; ++i) {
    table_->attend(q.data(), 1, dim, k[i].data(), dim, v[i].data(), dim, dim, 1, nullptr, &state, acc.data(),
                   &scratch);
  }
  EXPECT_EQ(state.max, 4064.0f);
  EXPECT_EQ(state.sum, 1.0f);
  for (const float value : acc) EXPECT_EQ(value, 254.0f);
}

// Heads are split between threads: a head's bits must not depend on its company.
TEST_P(Attend, AHeadAloneGivesTheSameBits) {
  const size_t heads = 6, dim = 72, positions = 37;
  const Cache k(*table_, positions, dim, dim, 4), v(*table_, positions, dim, dim, 5);
  const std::vector<float> q = RandomVector(heads * dim, 6, 0.3f);
  const SoftmaxState start = {-std::numeric_limits<float>::infinity(), 0.0f};
  std::vector<SoftmaxState> state(heads, start), alone(heads, start);
  std::vector<float> acc(heads * dim, 0.0f), acc_alone = acc, scratch(heads * positions);
  table_->attend(q.data(), heads, dim, k.Row(0), dim, v.Row(0), dim, dim, positions, nullptr, state.data(),
                 acc.data(), scratch.data());
  for (size_t h = 0; h < heads; ++h) {
    table_->attend(&q[h * dim], 1, dim, k.Row(0), dim, v.Row(0), dim, dim, positions, nullptr, &alone[h],
                   &acc_alone[h * dim], scratch.data());
  }
  EXPECT_EQ(acc, acc_alone);
  for (size_t h = 0; h < heads; ++h) EXPECT_EQ(state[h].sum, alone[h].sum);
}

// As in multi-head latent attention, of more heads than a tile has.
TEST_P(Attend, ValuesMayBePartOfTheKeys) {
  const size_t heads = 19, positions = 41;
  for (const auto& [dim, v_dim] : {std::pair{576, 512}, {112, 80}, {40, 24}}) {
    const Cache k(*table_, positions, dim, dim, 7);
    const std::vector<float> q = RandomVector(heads * dim, 8, 2.0f / std::sqrt(static_cast<float>(dim)));
    const SoftmaxState start = {-std::numeric_limits<float>::infinity(), 0.0f};
    std::vector<SoftmaxState> state(heads, start), alone(heads, start);
    std::vector<float> acc(heads * v_dim, 0.0f), acc_alone = acc, scratch(heads * positions);
    table_->attend(q.data(), heads, dim, k.Row(0), dim, k.Row(0), v_dim, dim, positions, nullptr,
                   state.data(), acc.data(), scratch.data());
    std::vector<float> v(positions * v_dim);
    for (size_t p = 0; p < positions; ++p) std::copy_n(&k.seen()[p * dim], v_dim, &v[p * v_dim]);
    for (size_t h = 0; h < heads; ++h) {
      CheckHead({heads, static_cast<size_t>(dim), static_cast<size_t>(v_dim), positions}, h, &q[h * dim],
                k.seen(), v, state[h], &acc[h * v_dim]);
      table_->attend(&q[h * dim], 1, dim, k.Row(0), dim, k.Row(0), v_dim, dim, positions, nullptr, &alone[h],
                     &acc_alone[h * v_dim], scratch.data());
      EXPECT_EQ(state[h].sum, alone[h].sum);
    }
    EXPECT_EQ(acc, acc_alone);
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, Attend, ::testing::ValuesIn(test::CacheCases()), CacheName);

}  // namespace
}  // namespace onecopy::kernels
