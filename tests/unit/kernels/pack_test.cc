// The packed layout holds exactly the file's values, in the size it promises. The oracle is each type's block
// decoder, itself held against ggml in types_test.cc.
#include "kernels/pack.h"

#include <gtest/gtest.h>

#include "tests/unit/kernels/test_tables.h"

namespace onecopy::kernels {
namespace {

class Packing : public ::testing::TestWithParam<WeightType> {
 protected:
  bool IsFloat() const { return Info(GetParam()).block_cols == 1; }
  std::vector<uint32_t> RowTiles() const {
    return IsFloat() ? std::vector<uint32_t>{1} : std::vector<uint32_t>{1, 8, 16};
  }
};

void ExpectSameValues(const FileMatrix& file, const Shard& shard) {
  std::vector<float> got(shard.matrix.cols);
  for (uint32_t row = 0; row < file.rows; ++row) {
    const std::vector<float> whole = file.Row(row);
    UnpackRow(shard.matrix, row, got.data());
    ASSERT_EQ(std::memcmp(got.data(), whole.data() + shard.matrix.first_col, got.size() * sizeof(float)), 0)
        << TypeName(file.type) << " row " << row << " of " << file.rows << ", tile " << shard.matrix.row_tile
        << ", columns " << shard.matrix.first_col << "+" << shard.matrix.cols;
  }
}

TEST_P(Packing, UnpacksToTheFilesValues) {
  for (const uint32_t row_tile : RowTiles()) {
    for (const uint32_t rows : {1u, 3u, 8u, 17u, 33u}) {
      for (const uint32_t cols : {256u, 768u}) {
        const FileMatrix file = RandomMatrix(GetParam(), rows, cols, rows + cols);
        ExpectSameValues(file, Pack(file, row_tile, 0, cols));
      }
    }
  }
}

TEST_P(Packing, ColumnShardsBeginAndEndInsideBlocks) {
  const FileMatrix file = RandomMatrix(GetParam(), 17, 768, 5);
  for (const uint32_t row_tile : RowTiles()) {
    for (uint32_t first = 0; first < 768; first += 32) {
      for (uint32_t cols = 32; first + cols <= 768; cols += first % 96 == 0 ? 32 : 224) {
        ExpectSameValues(file, Pack(file, row_tile, first, cols));
      }
    }
  }
}

TEST_P(Packing, FloatTypesTakeAnyColumns) {
  if (!IsFloat()) return;
  const FileMatrix file = RandomMatrix(GetParam(), 5, 301, 6);
  for (const uint32_t first : {0u, 1u, 37u}) {
    for (const uint32_t cols : {1u, 7u, 63u, 257u, 264u}) ExpectSameValues(file, Pack(file, 1, first, cols));
  }
}

TEST_P(Packing, IsAtMostFivePercentLargerThanTheFile) {
  const double bound = GetParam() == WeightType::kTQ1_0 ? 58.0 / 54 : 1.05;  // see pack.h
  for (const uint32_t row_tile : RowTiles()) {
    for (const uint32_t cols : {256u, 2048u}) {
      const double packed = static_cast<double>(PackedBytes(Describe(GetParam(), row_tile, 64, cols, 0)));
      const double file = 64.0 * static_cast<double>(RowBytes(Info(GetParam()), cols));
      EXPECT_LE(packed, bound * file) << "tile " << row_tile;
      EXPECT_GE(packed, file);
    }
  }
}

// Shards cut at any 32 columns hold together what the whole matrix does, plus the headers they say they
// repeat.
TEST_P(Packing, SplitHeadersExplainTheBytesOfAllShards) {
  for (const uint32_t row_tile : RowTiles()) {
    const uint64_t whole = PackedBytes(Describe(GetParam(), row_tile, 17, 768, 0));
    for (const uint32_t width : {32u, 96u, 256u, 352u}) {
      uint64_t bytes = 0, split = 0;
      for (uint32_t first = 0; first < 768; first += width) {
        const PackedMatrix shard = Describe(GetParam(), row_tile, 17, std::min(width, 768 - first), first);
        bytes += PackedBytes(shard);
        split += SplitHeaderBytes(shard);
      }
      EXPECT_EQ(bytes, whole + split) << "tile " << row_tile << ", width " << width;
      if (width == 256) {
        EXPECT_EQ(split, 0u);
      }
      if (width == 96 && Info(GetParam()).block_cols == 256) {
        EXPECT_GT(split, 0u);
      }
    }
  }
}

TEST_P(Packing, AnEmptyShardHasNoBytes) {
  EXPECT_EQ(PackedBytes(Describe(GetParam(), 1, 0, 256, 32)), 0u);
  EXPECT_EQ(PackedBytes(Describe(GetParam(), 1, 8, 0, 32)), 0u);
  EXPECT_EQ(SplitHeaderBytes(Describe(GetParam(), 1, 8, 0, 32)), 0u);
}

TEST_P(Packing, PiecesGiveTheSameBytesAsTheWhole) {
  const FileMatrix file = RandomMatrix(GetParam(), 37, 512, 7);
  for (const uint32_t row_tile : RowTiles()) {
    const Shard whole = Pack(file, row_tile, 96, 320);
    PackedMatrix matrix = whole.matrix;
    const AlignedBytes pieces(PackedBytes(matrix));
    // The last piece first: no piece may touch another's bytes.
    for (const uint32_t begin : {32u, 16u, 0u}) {
      PackRows(matrix, pieces.get(), begin, std::min(16u, 37 - begin), file.At(begin, 96), file.row_bytes);
    }
    EXPECT_EQ(std::memcmp(pieces.get(), whole.bytes.get(), pieces.size()), 0) << "tile " << row_tile;
  }
}

TEST_P(Packing, PaddedRowsAreZero) {
  if (IsFloat()) return;
  const FileMatrix file = RandomMatrix(GetParam(), 9, 256, 8);
  const Shard shard = Pack(file, 8, 32, 160);
  PackedMatrix padded = shard.matrix;
  padded.rows = 16;
  ASSERT_EQ(PackedBytes(padded), shard.bytes.size());
  std::vector<float> row(160);
  for (uint32_t r = 9; r < 16; ++r) {
    UnpackRow(padded, r, row.data());
    for (const float value : row) ASSERT_EQ(value, 0.0f) << "row " << r;
  }
}

// The layout is what the kernels of every ISA read: a change of it must be deliberate. Values from pack.h by
// hand.
TEST(PackedLayout, Q4KUnitHoldsNibblesAsDocumented) {
  const FileMatrix file = RandomMatrix(WeightType::kQ4_K, 8, 256, 9);
  const Shard shard = Pack(file, 8, 0, 256);
  const uint8_t* unit3 = shard.bytes.get() + size_t{8 * 4 + 3 * 8 * 18};
  const uint32_t row = 5;
  // Columns 96-127 stand in the high nibbles of bytes 32-63 of the quants, which begin at byte 16.
  const uint8_t* source = file.At(row, 0) + 16 + 32;
  for (uint32_t j = 0; j < 4; ++j) {
    for (uint32_t b = 0; b < 4; ++b) {
      const uint8_t packed = unit3[16 + 4 * (8 * j + row) + b];
      EXPECT_EQ(packed & 15, source[4 * j + b] >> 4);
      EXPECT_EQ(packed >> 4, source[16 + 4 * j + b] >> 4);
    }
  }
  EXPECT_EQ(unit3[row], file.At(row, 0)[4 + 3] & 63);      // scale 3
  EXPECT_EQ(unit3[8 + row], file.At(row, 0)[8 + 3] & 63);  // minimum 3
}

TEST(PackedLayout, MXFP4UnitHoldsScalesThenTheFilesBytes) {
  const FileMatrix file = RandomMatrix(WeightType::kMXFP4, 8, 64, 10);
  const Shard shard = Pack(file, 8, 32, 32);
  ASSERT_EQ(shard.bytes.size(), 8u * 17);
  const uint8_t* unit = shard.bytes.get();
  for (uint32_t row = 0; row < 8; ++row) {
    const uint8_t* source = file.At(row, 32);
    EXPECT_EQ(unit[row], source[0]);
    for (uint32_t j = 0; j < 4; ++j)
      EXPECT_EQ(std::memcmp(unit + 8 + 4 * (8 * j + row), source + 1 + 4 * j, 4), 0) << "row " << row;
  }
}

// Column 4j + b in bit j of byte b; the eighth of eight signs, which the file has not, makes room for the scale.
TEST(PackedLayout, IQ2XXSUnitHoldsIndicesThenSignsAroundTheScale) {
  const FileMatrix file = RandomMatrix(WeightType::kIQ2_XXS, 8, 256, 11);
  const Shard shard = Pack(file, 8, 32, 224);
  const uint8_t* unit5 = shard.bytes.get() + size_t{8 * 2 + 4 * 8 * 8};
  for (uint32_t row = 0; row < 8; ++row) {
    const uint8_t* source = file.At(row, 0) + 2 + 8 * 5;
    uint32_t word, packed;
    std::memcpy(&word, source + 4, 4);
    std::memcpy(&packed, unit5 + 32 + 4 * row, 4);
    for (uint32_t i = 0; i < 4; ++i) {
      EXPECT_EQ(unit5[8 * i + row], source[i]) << "row " << row;
      for (uint32_t c = 0; c < 7; ++c) {
        const uint32_t col = 8 * i + c;
        EXPECT_EQ((packed >> (8 * (col % 4) + col / 4)) & 1, (word >> (7 * i + c)) & 1) << "column " << col;
      }
    }
    const uint32_t free[4] = {packed >> 25 & 1, packed >> 27 & 1, packed >> 29 & 1, packed >> 31};
    EXPECT_EQ(free[0] | free[2] << 1 | free[1] << 2 | free[3] << 3, word >> 28) << "row " << row;
  }
}

INSTANTIATE_TEST_SUITE_P(Types, Packing, ::testing::ValuesIn(AllWeightTypes()),
                         [](const auto& info) { return TypeName(info.param); });

}  // namespace
}  // namespace onecopy::kernels
