#include "kernels/weight_stream.h"

#include <gtest/gtest.h>

#include <vector>

namespace onecopy::kernels {
namespace {

TEST(WeightStream, FetchesAheadUntilItsEnd) {
  const std::vector<uint8_t> weights(16384);
  const uint8_t* begin = weights.data();
  const WeightStream stream(begin + 8192, nullptr);
  EXPECT_EQ(stream.At(begin, 4096), 4096);
  EXPECT_EQ(stream.At(begin + 4095, 4096), 4096);
  EXPECT_EQ(stream.At(begin + 4096, 4096), 0) << "that is another thread's";
  EXPECT_EQ(stream.From(begin).near, kNearBytes);
  EXPECT_EQ(stream.From(begin).far, kFarBytes);
  EXPECT_EQ(stream.From(begin + 8192 - kNearBytes).near, 0);
}

TEST(WeightStream, GoesOnWithWhatIsNext) {
  const std::vector<uint8_t> weights(16384);
  const uint8_t* begin = weights.data();
  for (const ptrdiff_t next : {0, 12288}) {  // before and behind
    const WeightStream stream(begin + 8192, begin + next);
    EXPECT_EQ(stream.At(begin + 4096, 4095), 4095);
    EXPECT_EQ(stream.At(begin + 4096, 4096), next - 4096) << "its first byte";
    EXPECT_EQ(stream.At(begin + 8000, 4096), next + (8000 + 4096 - 8192) - 8000)
        << "as far into it as behind the end";
  }
}

TEST(WeightStream, FindsBothHalvesOfWhatIsNext) {
  const std::vector<uint8_t> weights(1 << 20);
  PackedMatrix next = {
      .data = weights.data(), .type = WeightType::kQ4_K, .row_tile = 16, .rows = 100, .cols = 512};
  PackedMatrix w = next;
  EXPECT_EQ(NextTile(w, false), nullptr);
  EXPECT_EQ(NextTile(w, true), nullptr);
  w.next = &next;
  EXPECT_EQ(NextTile(w, false), weights.data());
  EXPECT_EQ(NextTile(w, true), weights.data() + 3 * TileBytes(next)) << "of seven tiles";
  next.rows = 0;
  EXPECT_EQ(NextTile(w, true), weights.data());
}

}  // namespace
}  // namespace onecopy::kernels
