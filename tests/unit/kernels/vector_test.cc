// Norm, rotation, activation, softmax, quantisation and cache elements of every table, against the formula in
// float64.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "tests/unit/kernels/test_tables.h"

namespace onecopy::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const size_t kLengths[] = {1, 3, 7, 8, 17, 31, 32, 63, 65, 96, 128, 1000};

class Vector : public PerTable {};

TEST_P(Vector, RmsNormEqualsFloat64) {
  for (const size_t n : kLengths) {
    const std::vector<float> x = RandomVector(n, 1, 3.0f), weight = RandomVector(n, 2);
    std::vector<float> out(n), in_place = x;
    table_->rms_norm(x.data(), weight.data(), 1e-6f, n, out.data());
    table_->rms_norm(in_place.data(), weight.data(), 1e-6f, n, in_place.data());
    double square = 0;
    for (const float value : x) square += static_cast<double>(value) * value;
    const double scale = 1 / std::sqrt(square / static_cast<double>(n) + 1e-6f);
    for (size_t i = 0; i < n; ++i) {
      const double expected = x[i] * scale * weight[i];
      ASSERT_NEAR(out[i], expected, 5e-7 * std::fabs(expected)) << i << " of " << n;
    }
    EXPECT_EQ(in_place, out);
  }
}

// A residual stream of thousands with a few huge channels, as large models have.
TEST_P(Vector, RmsNormHoldsForMassiveActivations) {
  const size_t n = 7168;
  std::vector<float> x = RandomVector(n, 3, 0.01f), weight(n, 1.0f), out(n);
  x[17] = 9000.0f;
  double square = 0;
  for (const float value : x) square += static_cast<double>(value) * value;
  table_->rms_norm(x.data(), weight.data(), 1e-6f, n, out.data());
  const double expected = x[5] / std::sqrt(square / n + 1e-6);
  EXPECT_NEAR(out[5], expected, 1e-6 * std::fabs(expected));
}

TEST_P(Vector, RopeRotatesPairs) {
  for (const size_t half : {1u, 4u, 7u, 8u, 20u, 32u, 33u, 64u}) {
    const std::vector<float> x = RandomVector(2 * half, 4);
    std::vector<float> cos_sin(2 * half), neox = x, pairwise = x;
    for (size_t i = 0; i < half; ++i) {
      cos_sin[2 * i] = std::cos(0.37f * static_cast<float>(i + 1));
      cos_sin[2 * i + 1] = std::sin(0.37f * static_cast<float>(i + 1));
    }
    table_->rope_neox(neox.data(), cos_sin.data(), half);
    table_->rope_pairwise(pairwise.data(), cos_sin.data(), half);
    const auto check = [&](const std::vector<float>& got, size_t first, size_t second, size_t i) {
      const double c = cos_sin[2 * i], s = cos_sin[2 * i + 1], a = x[first], b = x[second];
      const double tolerance = 2e-7 * (std::fabs(a) + std::fabs(b));
      ASSERT_NEAR(got[first], a * c - b * s, tolerance) << "pair " << i << " of " << half;
      ASSERT_NEAR(got[second], b * c + a * s, tolerance) << "pair " << i << " of " << half;
    };
    for (size_t i = 0; i < half; ++i) {
      check(neox, i, i + half, i);
      check(pairwise, 2 * i, 2 * i + 1, i);
    }
  }
}

TEST_P(Vector, SiluMulEqualsFloat64) {
  std::vector<float> gate = {0.0f,   -0.0f,  88.5f,  120.0f,  1e30f, -20.0f,
                             -87.0f, -88.0f, -89.5f, -103.0f, -1e30f};
  for (int i = -2200; i < 2200; ++i) gate.push_back(0.0137f * static_cast<float>(i));
  const std::vector<float> up = RandomVector(gate.size(), 5);
  std::vector<float> out(gate.size()), in_place = gate;
  table_->silu_mul(gate.data(), up.data(), gate.size(), out.data());
  table_->silu_mul(in_place.data(), up.data(), gate.size(), in_place.data());
  EXPECT_EQ(out, in_place);
  for (size_t i = 0; i < gate.size(); ++i) {
    const double expected = gate[i] / (1 + std::exp(-static_cast<double>(gate[i]))) * up[i];
    // Below -88 the float e^-x overflows and the result, under 1e-36, may be taken for zero.
    ASSERT_NEAR(out[i], expected, 6e-7 * std::fabs(expected) + 2e-36) << "gate " << gate[i];
  }
}

TEST_P(Vector, SiluMulPassesNotANumber) {
  const std::vector<float> gate(9, std::nanf("")), up(9, 1.0f);
  std::vector<float> out(9, 0.0f);
  table_->silu_mul(gate.data(), up.data(), 9, out.data());
  for (const float value : out) EXPECT_TRUE(std::isnan(value));
}

TEST_P(Vector, AxpyAdds) {
  for (const size_t n : kLengths) {
    const std::vector<float> x = RandomVector(n, 6), before = RandomVector(n, 7);
    std::vector<float> y = before;
    table_->axpy(0.3f, x.data(), n, y.data());
    for (size_t i = 0; i < n; ++i) {
      const double expected = before[i] + static_cast<double>(0.3f) * x[i];
      ASSERT_NEAR(y[i], expected, 1.2e-7 * (std::fabs(before[i]) + std::fabs(x[i]))) << i << " of " << n;
    }
  }
}

// Sums over ranks must not depend on the table: not a bit.
TEST_P(Vector, SumsInDoubleHaveOneRounding) {
  for (const size_t n : kLengths) {
    const std::vector<float> a = RandomVector(n, 9), b = RandomVector(n, 10);
    std::vector<double> x(n), y(n);
    for (size_t i = 0; i < n; ++i) {
      x[i] = a[i] / 3.0;
      y[i] = b[i] / 7.0;
    }
    const std::vector<double> before = y;
    table_->accumulate(x.data(), n, y.data());
    std::vector<float> rounded = a;
    table_->add_sums(before.data(), n, rounded.data());
    for (size_t i = 0; i < n; ++i) {
      ASSERT_EQ(y[i], before[i] + x[i]) << i << " of " << n;
      ASSERT_EQ(rounded[i], static_cast<float>(a[i] + before[i])) << i << " of " << n;
    }
  }
}

TEST_P(Vector, SoftmaxEqualsFloat64) {
  for (const size_t n : kLengths) {
    std::vector<float> x = RandomVector(n, 8, 6.0f);
    for (float& value : x) value += 500.0f;  // would overflow without the maximum taken off
    const double max = *std::max_element(x.begin(), x.end());
    double sum = 0, total = 0;
    for (const float value : x) sum += std::exp(value - max);
    std::vector<float> out = x;
    table_->softmax(out.data(), n);
    for (size_t i = 0; i < n; ++i) {
      const double expected = std::exp(x[i] - max) / sum;
      ASSERT_NEAR(out[i], expected, 1e-6 * expected) << i << " of " << n;
      total += out[i];
    }
    EXPECT_NEAR(total, 1, 1e-6);
  }
}

TEST_P(Vector, SoftmaxGivesMaskedEntriesZero) {
  std::vector<float> x = {1.0f, -kInfinity, 2.0f, -kInfinity, -1e30f, 0.0f, 1.0f, 1.0f, -kInfinity, 2.0f};
  table_->softmax(x.data(), x.size());
  for (const size_t i : {1, 3, 4, 8}) EXPECT_EQ(x[i], 0.0f);
  EXPECT_FLOAT_EQ(x[2], x[9]);
}

TEST_P(Vector, QuantizeQ8MatchesRefBitForBit) {
  const KernelTable& ref = AllTables().back().table();
  for (const size_t n : {1u, 31u, 32u, 33u, 64u, 100u, 768u, 2049u}) {
    std::vector<float> x = RandomVector(n, static_cast<uint32_t>(n));
    x[n / 3] = -77.0f;
    if (n > 64) std::fill_n(x.begin() + 32, 32, 0.0f);
    if (n > 99) std::fill_n(x.begin() + 64, 32, 1e-41f);  // subnormal: the reciprocal of d would be infinite
    const size_t units = (n + 31) / 32, written = units * 44;
    const AlignedBytes got(Q8RowBytes(n)), want(Q8RowBytes(n));
    table_->quantize_q8(x.data(), n, got.get());
    ref.quantize_q8(x.data(), n, want.get());
    EXPECT_EQ(std::memcmp(got.get(), want.get(), written), 0) << n << " columns";
  }
}

TEST_P(Vector, QuantizeQ8IsWithinHalfAStep) {
  const size_t n = 300, units = 10;
  const std::vector<float> x = RandomVector(n, 9);
  const AlignedBytes row(Q8RowBytes(n));
  table_->quantize_q8(x.data(), n, row.get());
  const auto* q = reinterpret_cast<const int8_t*>(row.get());
  const auto* d = reinterpret_cast<const float*>(row.get() + 32 * units);
  for (size_t u = 0; u < units; ++u) {
    float largest = 0, sums[2] = {0, 0};
    for (size_t c = 32 * u; c < 32 * u + 32; ++c) {
      const float value = c < n ? x[c] : 0.0f;
      largest = std::max(largest, std::fabs(value));
      EXPECT_LE(std::fabs(d[u] * static_cast<float>(q[c]) - value), 0.50001f * d[u]) << "column " << c;
      sums[c / 16 % 2] += static_cast<float>(q[c]);
    }
    EXPECT_FLOAT_EQ(d[u], largest / 127);
    EXPECT_FLOAT_EQ(d[units + u], d[u] * sums[0]);
    EXPECT_FLOAT_EQ(d[2 * units + u], d[u] * sums[1]);
  }
}

TEST_P(Vector, RoundBf16RoundsToNearestEven) {
  const std::pair<uint32_t, uint16_t> cases[] = {
      {0x3f800000, 0x3f80},                        // 1
      {0x3f808000, 0x3f80}, {0x3f818000, 0x3f82},  // ties go to the even one
      {0x3f808001, 0x3f81}, {0xbf807fff, 0xbf80},  // just beside a tie
      {0x7f7fffff, 0x7f80}, {0xff800000, 0xff80},  // beyond the range; infinity
      {0x80000000, 0x8000}, {0x807fffff, 0x8000},  // zero; a subnormal is one
      {0x00800000, 0x0080}, {0x7f800001, 0x7fc0},  // the smallest normal; not a number, whatever its fraction
  };
  std::vector<float> x;
  for (const auto& [bits, rounded] : cases) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    x.push_back(value);
  }
  const AlignedBytes out(64);
  table_->round_bf16(x.data(), x.size(), out.get());
  for (size_t i = 0; i < 32; ++i) {
    uint16_t got;
    std::memcpy(&got, out.get() + 2 * i, sizeof got);
    EXPECT_EQ(got, i < x.size() ? cases[i].second : 0) << "element " << i;
  }
}

TEST_P(Vector, RoundBf16MatchesRefBitForBit) {
  const KernelTable& ref = AllTables().back().table();
  for (const size_t n : {1u, 31u, 32u, 33u, 100u, 768u, 2049u}) {
    const std::vector<float> x = RandomVector(n, static_cast<uint32_t>(n));
    const AlignedBytes got((n + 31) / 32 * 64), want((n + 31) / 32 * 64);
    table_->round_bf16(x.data(), n, got.get());
    ref.round_bf16(x.data(), n, want.get());
    EXPECT_EQ(std::memcmp(got.get(), want.get(), got.size()), 0) << n << " columns";
  }
}

TEST_P(Vector, StoreKvRoundsToNearestEven) {
  if (table_->kv_type == KvType::kF32) {
    const std::vector<float> x = RandomVector(19, 10);
    std::vector<float> out(19);
    table_->store_kv(x.data(), 19, out.data());
    EXPECT_EQ(out, x);
    return;
  }
  // 1 + 2^-11 lies between two halves and goes to the even one; 65520 is the first to round to infinity.
  const std::vector<float> x = {1.0f,  1.00048828125f, 1.00146484375f, 65519.0f, 65520.0f,
                                -1e6f, 6e-8f,          -0.0f,          0.1f,     1e-9f};
  const std::vector<uint16_t> expected = {0x3c00, 0x3c00, 0x3c02, 0x7bff, 0x7c00,
                                          0xfc00, 0x0001, 0x8000, 0x2e66, 0x0000};
  std::vector<uint16_t> out(x.size());
  table_->store_kv(x.data(), x.size(), out.data());
  EXPECT_EQ(out, expected);
}

TEST_P(Vector, StoreKvQ8_0MatchesRefBitForBit) {
  const CacheKernels &got_of = table_->q8_cache, &want_of = AllTables().back().table().q8_cache;
  for (const size_t n : {1u, 31u, 32u, 33u, 80u, 128u, 576u}) {
    std::vector<float> x = RandomVector(n, static_cast<uint32_t>(n));
    if (n > 1) x[n / 2] = 1e-39f;  // subnormal
    std::vector<uint8_t> got(KvRowBytes(KvType::kQ8_0, n) + 1, 0xee), want = got;
    got_of.store_kv(x.data(), n, got.data());
    want_of.store_kv(x.data(), n, want.data());
    EXPECT_EQ(got, want) << n << " elements";
    EXPECT_EQ(got.back(), 0xee);
    // Half a step, and what d loses where it is rounded to f16, which the largest feels most.
    const std::vector<float> seen = DecodeRow(KvType::kQ8_0, got.data(), n);
    for (size_t i = 0; i < n; ++i) {
      float most = 0;
      for (size_t j = i / 32 * 32; j < std::min(n, i / 32 * 32 + 32); ++j)
        most = std::max(most, std::fabs(x[j]));
      ASSERT_NEAR(seen[i], x[i], most * (0.5 / 127 + 1.0 / 2048) * 1.0001) << i << " of " << n;
    }
  }
  const float zeros[32] = {}, broken[32] = {1.0f, std::numeric_limits<float>::infinity()};
  uint8_t block[34];
  got_of.store_kv(zeros, 32, block);
  EXPECT_EQ(DecodeRow(KvType::kQ8_0, block, 32), std::vector<float>(32, 0.0f));
  got_of.store_kv(broken, 32, block);
  EXPECT_TRUE(std::isnan(DecodeRow(KvType::kQ8_0, block, 32)[0]));
}

INSTANTIATE_TEST_SUITE_P(Tables, Vector, ::testing::ValuesIn(TableEntries()), TableName);

}  // namespace
}  // namespace onecopy::kernels
