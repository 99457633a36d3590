// Attention of blocks of tokens of every table against causal softmax(q k) v in float64, over pages as the table stores
// them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "tests/unit/kernels/test_tables.h"

namespace onecopy::kernels {
namespace {

struct BlockShape {
  size_t tokens, first_position, heads, head_dim, v_dim;
  bool values_in_keys =
      false;  // the values are the leading part of the keys, as in multi-head latent attention
  size_t window = 0;
};

// Pages of rows in the table's element type, and the same as float. What no position has written is NaN.
class Pages {
 public:
  Pages(const KernelTable& table, size_t positions, size_t dim, uint32_t seed)
      : seen_(positions * dim), dim_(dim) {
    const size_t row_bytes = KvRowBytes(table.kv_type, dim);
    const std::vector<float> values = RandomVector(positions * dim, seed);
    for (size_t p = 0; p < positions; ++p) {
      if (p % kKvPagePositions == 0) {
        bytes_.emplace_back(kKvPagePositions * row_bytes);
        std::memset(bytes_.back().get(), 0xff, kKvPagePositions * row_bytes);
        pages_.push_back(bytes_.back().get());
      }
      uint8_t* row = bytes_.back().get() + p % kKvPagePositions * row_bytes;
      table.store_kv(&values[p * dim], dim, row);
      const std::vector<float> decoded = DecodeRow(table.kv_type, row, dim);
      std::copy(decoded.begin(), decoded.end(), seen_.begin() + static_cast<ptrdiff_t>(p * dim));
    }
  }
  const void* const* pages() const { return pages_.data(); }
  const float* row(size_t p) const { return &seen_[p * dim_]; }
  size_t dim() const { return dim_; }

 private:
  std::vector<AlignedBytes> bytes_;
  std::vector<const void*> pages_;
  std::vector<float> seen_;
  size_t dim_;
};

class AttendBlockTest : public PerCache {
 protected:
  static constexpr size_t kGap = 5;  // floats between tokens

  std::vector<float> Run(const BlockShape& s, const Pages& k, const Pages& v, const float* q,
                         SoftmaxState* states = nullptr, size_t n_positions = 0) {
    const size_t q_stride = s.heads * s.head_dim + kGap, out_stride = s.heads * s.v_dim + kGap;
    std::vector<float> out(s.tokens * out_stride, -7.0f);
    AttendBlock block = {};
    block.n_tokens = s.tokens;
    block.n_heads = s.heads;
    block.head_dim = s.head_dim;
    block.v_dim = s.v_dim;
    block.v_stride = v.dim();
    block.first_position = s.first_position;
    block.n_positions = n_positions;
    block.window = s.window;
    block.q = q;
    block.q_stride = q_stride;
    block.k_pages = k.pages();
    block.v_pages = v.pages();
    block.out = out.data();
    block.out_stride = out_stride;
    block.states = states;
    const AlignedBytes scratch(table_->attend_block_bytes(block));
    std::memset(scratch.get(), 0xff, table_->attend_block_bytes(block));
    block.scratch = scratch.get();
    table_->attend_block(block);
    return out;
  }

  // Scores of tables that round q to pieces of bf16 are off by up to 2^-15 of the sum of magnitudes.
  void Check(const BlockShape& s) {
    SCOPED_TRACE(std::to_string(s.tokens) + " tokens from " + std::to_string(s.first_position) + ", " +
                 std::to_string(s.heads) + " heads of " + std::to_string(s.head_dim) + " and " +
                 std::to_string(s.v_dim) + ", window " + std::to_string(s.window));
    const size_t positions = s.first_position + s.tokens;
    const Pages k(*table_, positions, s.head_dim, 1), own_v(*table_, positions, s.v_dim, 2);
    const Pages& v = s.values_in_keys ? k : own_v;
    const size_t q_stride = s.heads * s.head_dim + kGap, out_stride = s.heads * s.v_dim + kGap;
    const std::vector<float> q =
        RandomVector(s.tokens * q_stride, 3, 2.0f / std::sqrt(static_cast<float>(s.head_dim)));
    std::vector<SoftmaxState> states(s.tokens * s.heads);
    const std::vector<float> out = Run(s, k, v, q.data(), states.data());
    const double epsilon = std::strcmp(table_->name, "amx") == 0 ? 1.0 / (1 << 15) : 0;
    for (size_t t = 0; t < s.tokens; ++t) {
      for (size_t h = 0; h < s.heads; ++h)
        CheckRow(s, s.first_position + t + 1, &q[t * q_stride + h * s.head_dim], k, v,
                 &out[t * out_stride + h * s.v_dim], states[t * s.heads + h], epsilon);
      for (size_t i = 0; i < kGap; ++i) ASSERT_EQ(out[t * out_stride + s.heads * s.v_dim + i], -7.0f);
    }
  }

  // Heads of 64.
  void CheckAlone(const BlockShape& s) {
    const size_t positions = s.first_position + s.tokens;
    const Pages k(*table_, positions, 64, 4), v(*table_, positions, 64, 5);
    const std::vector<float> q = RandomVector(s.tokens * (3 * 64 + kGap), 6, 0.3f);
    const auto all = Run(s, k, v, q.data());
    for (size_t t = 0; t < s.tokens; ++t) {
      for (size_t h = 0; h < s.heads; ++h) {
        const size_t at = t * (3 * 64 + kGap) + h * 64;
        const auto alone = Run({1, s.first_position + t, 1, 64, 64, false, s.window}, k, v, &q[at]);
        ASSERT_EQ(std::memcmp(alone.data(), &all[at], 64 * sizeof(float)), 0)
            << "token " << t << " head " << h;
      }
    }
  }

  static void CheckRow(const BlockShape& s, size_t seen, const float* q, const Pages& k, const Pages& v,
                       const float* out, const SoftmaxState& state, double epsilon) {
    const size_t before = s.window != 0 && seen > s.window ? seen - s.window : 0;  // of what is not seen
    seen -= before;
    std::vector<double> weights(seen);
    double score_error = 0;
    for (size_t p = 0; p < seen; ++p) {
      double norm = 0;
      for (size_t i = 0; i < s.head_dim; ++i) {
        const double product = static_cast<double>(q[i]) * k.row(before + p)[i];
        weights[p] += product;
        norm += std::fabs(product);
      }
      score_error = std::max(score_error, norm * (static_cast<double>(s.head_dim + 4) / (1 << 24) + epsilon));
    }
    const double max = *std::max_element(weights.begin(), weights.end());
    double sum = 0;
    for (double& weight : weights) sum += weight = std::exp(weight - max);
    ASSERT_NEAR(std::log(state.sum) + state.max, std::log(sum) + max,
                score_error + static_cast<double>(seen + 16) / (1 << 24) * (1 + std::fabs(max)));
    for (size_t i = 0; i < s.v_dim; ++i) {
      double expected = 0, norm = 0;
      for (size_t p = 0; p < seen; ++p) {
        const double term = weights[p] / sum * v.row(before + p)[i];
        expected += term;
        norm += std::fabs(term);
      }
      const double tolerance =
          norm * (2 * score_error + static_cast<double>(seen + 16) / (1 << 24) + epsilon);
      ASSERT_NEAR(out[i], expected, tolerance) << seen << " positions seen, column " << i;
    }
  }
};

TEST_P(AttendBlockTest, EqualsFloat64ForOddShapes) {
  for (const size_t tokens : {1, 2, 3, 17, 33, 65})
    for (const size_t first : {0, 1, 47, 63, 64, 130}) {
      Check({tokens, first, 1, 32, 32});
      Check({tokens, first, 3, 20, 13});
    }
}

TEST_P(AttendBlockTest, EqualsFloat64ForModelShapes) {
  Check({32, 200, 8, 128, 128});
  Check({40, 0, 4, 64, 64});
  Check({7, 100, 5, 80, 80});
  Check({5, 90, 2, 192, 128});
  Check({9, 60, 3, 96, 96});
}

TEST_P(AttendBlockTest, ValuesMayBePartOfTheKeys) {
  Check({19, 70, 4, 160, 128, true});
  Check({3, 100, 16, 576, 512, true});
}

TEST_P(AttendBlockTest, AWindowBoundsWhatIsSeen) {
  for (const size_t window : {1, 3, 16, 63, 64, 65, 128, 1000})
    for (const size_t tokens : {1, 2, 33, 65, 140})
      for (const size_t first : {0, 1, 63, 64, 200}) {
        Check({tokens, first, 1, 32, 32, false, window});
        Check({tokens, first, 3, 20, 13, false, window});
      }
  Check({32, 300, 8, 64, 64, false, 128});
  Check({40, 10, 4, 192, 128, false, 128});
}

// What lies before the pages that the block sees is not even asked for.
TEST_P(AttendBlockTest, PagesBeforeTheWindowAreNotRead) {
  const BlockShape s = {20, 300, 2, 64, 64, false, 70};
  const size_t positions = s.first_position + s.tokens,
               unseen = (s.first_position + 1 - 70) / kKvPagePositions;
  Pages k(*table_, positions, 64, 1), v(*table_, positions, 64, 2);
  const std::vector<float> q = RandomVector(s.tokens * (2 * 64 + kGap), 3, 0.3f);
  const auto want = Run(s, k, v, q.data());
  for (Pages* pages : {&k, &v}) std::fill_n(const_cast<const void**>(pages->pages()), unseen, nullptr);
  const auto got = Run(s, k, v, q.data());
  EXPECT_EQ(std::memcmp(got.data(), want.data(), want.size() * sizeof(float)), 0);
}

// The first page has tiny scores, the second huge ones: the rescaling must not overflow, nor divide by zero.
TEST_P(AttendBlockTest, LargeScoresDoNotOverflow) {
  const BlockShape s = {2, kKvPagePositions - 1, 1, 32, 32};
  Pages k(*table_, s.first_position + 2, 32, 1), v(*table_, s.first_position + 2, 32, 2);
  std::vector<float> row(32, -100.0f), q(2 * (32 + kGap), 4.0f);
  auto* first_page = const_cast<uint8_t*>(static_cast<const uint8_t*>(k.pages()[0]));
  for (size_t p = 0; p < kKvPagePositions; ++p)
    table_->store_kv(row.data(), 32, first_page + p * KvRowBytes(table_->kv_type, 32));
  std::fill(row.begin(), row.end(), 100.0f);
  table_->store_kv(row.data(), 32, const_cast<void*>(k.pages()[1]));
  const auto out = Run(s, k, v, q.data());
  for (size_t i = 0; i < 32; ++i) {
    EXPECT_TRUE(std::isfinite(out[i]));
    EXPECT_NEAR(out[32 + kGap + i], v.row(kKvPagePositions)[i], 1e-4);  // all weight on the last position
  }
}

// Positions may be gone through in several calls: those of one see whole pages of it, and their states say how to add up.
TEST_P(AttendBlockTest, PositionsBehindTheBoundAreNotSeen) {
  const BlockShape s = {37, 150, 2, 96, 64};
  const Pages k(*table_, s.first_position + s.tokens, 96, 7), v(*table_, s.first_position + s.tokens, 64, 8);
  const std::vector<float> q = RandomVector(s.tokens * (2 * 96 + kGap), 9, 0.3f);
  for (const size_t bound : {kKvPagePositions, 2 * kKvPagePositions}) {
    std::vector<SoftmaxState> states(s.tokens * s.heads);
    const auto out = Run(s, k, v, q.data(), states.data(), bound);
    for (size_t t = 0; t < s.tokens; ++t)
      for (size_t h = 0; h < s.heads; ++h)
        CheckRow(s, bound, &q[t * (2 * 96 + kGap) + h * 96], k, v, &out[t * (2 * 64 + kGap) + h * 64],
                 states[t * s.heads + h], std::strcmp(table_->name, "amx") == 0 ? 1.0 / (1 << 15) : 0);
  }
}

// Blocks are cut between threads, ranks and steps: a row's bits must not depend on its company.
TEST_P(AttendBlockTest, ATokenAndHeadAloneGiveTheSameBits) {
  for (const size_t window : {0, 1, 3, 20, 63, 64, 65}) {
    SCOPED_TRACE(window);
    CheckAlone({75, 50, 3, 64, 64, false, window});
  }
}
INSTANTIATE_TEST_SUITE_P(Tables, AttendBlockTest, ::testing::ValuesIn(test::CacheCases()), CacheName);

}  // namespace
}  // namespace onecopy::kernels
