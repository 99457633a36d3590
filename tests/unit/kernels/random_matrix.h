// Random matrices for tests and benchmarks: blocks as a file would hold them, shards packed from them.
// Buffers are exactly as long as promised, so that AddressSanitizer sees every read beyond.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/pack.h"
#include "kernels/types.h"

namespace onecopy::kernels {

struct FreeDeleter {
  void operator()(void* p) const { std::free(p); }
};

// 64-byte aligned, filled with a pattern that is NaN as float: what is read before it is written shows.
class AlignedBytes {
 public:
  enum Fill { kPattern, kUntouched };
  explicit AlignedBytes(size_t n, Fill fill = kPattern) : size_(n) {
    void* p = nullptr;
    if (posix_memalign(&p, 64, n == 0 ? 1 : n) != 0) std::abort();
    if (fill == kPattern) std::memset(p, 0xff, n);
    data_.reset(static_cast<uint8_t*>(p));
  }
  uint8_t* get() const { return data_.get(); }
  size_t size() const { return size_; }

 private:
  size_t size_;
  std::unique_ptr<uint8_t, FreeDeleter> data_;
};

inline std::string TypeName(WeightType type) {
  return Info(type).name;
}

inline std::vector<WeightType> AllWeightTypes() {
  std::vector<WeightType> types;
  for (size_t i = 0; i < static_cast<size_t>(WeightType::kCount); ++i)
    types.push_back(static_cast<WeightType>(i));
  return types;
}

// A whole matrix in the file's form.
struct FileMatrix {
  WeightType type;
  uint32_t rows;
  uint32_t cols;
  uint64_t row_bytes;
  std::vector<uint8_t> bytes;

  // The shard's first block (float types: element) of a row.
  const uint8_t* At(uint32_t row, uint32_t col) const {
    const TypeInfo& info = Info(type);
    return bytes.data() + row * row_bytes + uint64_t{col / info.block_cols} * info.block_bytes;
  }
  std::vector<float> Row(uint32_t row) const {
    std::vector<float> out(cols);
    Info(type).decode(bytes.data() + row * row_bytes, out.data(), cols);
    return out;
  }
};

// Any quants and scales; the f16 fields of the blocks are finite, of either sign, between 2^-7 and 2^-4, and so is
// MXFP4's power of two.
inline FileMatrix RandomMatrix(WeightType type, uint32_t rows, uint32_t cols, uint32_t seed) {
  const TypeInfo& info = Info(type);
  FileMatrix matrix = {type, rows, cols, RowBytes(info, cols), {}};
  matrix.bytes.resize(rows * matrix.row_bytes);
  std::mt19937 random(seed);
  for (uint8_t& byte : matrix.bytes) byte = static_cast<uint8_t>(random());
  const auto put_half = [&](uint8_t* p, uint32_t exponent_bits, uint32_t bias) {
    const uint32_t exponent = bias - 7 + random() % 3;
    const uint32_t fraction = random() & ((1u << exponent_bits) - 1);
    const auto half = static_cast<uint16_t>((random() & 1) << 15 | exponent << exponent_bits | fraction);
    std::memcpy(p, &half, sizeof half);
  };
  for (size_t at = 0; at < matrix.bytes.size(); at += info.block_bytes) {
    uint8_t* block = matrix.bytes.data() + at;
    switch (type) {
      case WeightType::kF32:
        put_half(block + 2, 7, 127);
        break;
      case WeightType::kBF16:
        put_half(block, 7, 127);
        break;
      case WeightType::kQ4_K:
      case WeightType::kQ5_K:
      case WeightType::kQ4_1:
      case WeightType::kQ5_1:
        put_half(block, 10, 15);
        put_half(block + 2, 10, 15);
        break;
      case WeightType::kQ2_K:
        put_half(block + 80, 10, 15);
        put_half(block + 82, 10, 15);
        break;
      case WeightType::kQ6_K:
      case WeightType::kQ3_K:
      case WeightType::kTQ1_0:
      case WeightType::kTQ2_0:
        put_half(block + info.block_bytes - 2, 10, 15);
        break;
      case WeightType::kF8_E4M3:
        for (uint8_t* code = block + 4; code < block + info.block_bytes; ++code)
          if ((*code & 0x7f) == 0x7f) *code ^= 1;  // not NaN
        put_half(block + 2, 7, 127 - 3);           // codes reach 448
        break;
      case WeightType::kInt8_BF16:
      case WeightType::kInt4_BF16:
      case WeightType::kInt4_32:
      case WeightType::kInt4_64:
      case WeightType::kInt4_128:
        put_half(block, 7, 127);
        break;
      case WeightType::kMXFP4:
        block[0] = static_cast<uint8_t>(127 - 7 + random() % 3);
        break;
      case WeightType::kIQ1_M:  // the upper nibbles of four words are d: its exponent, here 9 or 11
        block[55] = static_cast<uint8_t>((block[55] & 0x0f) | (random() & 1 ? 0xa0 : 0x20));
        break;
      case WeightType::kNVFP4:  // bytes are scales of any size
        break;
      default:
        put_half(block, 10, 15);
    }
  }
  return matrix;
}

// A packed shard and its memory.
struct Shard {
  PackedMatrix matrix;
  AlignedBytes bytes;
};

inline PackedMatrix Describe(WeightType type, uint32_t row_tile, uint32_t rows, uint32_t cols,
                             uint32_t first_col) {
  return {nullptr, type, row_tile, rows, cols, first_col};
}

inline Shard Pack(const FileMatrix& file, uint32_t row_tile, uint32_t first_col, uint32_t cols) {
  const PackedMatrix matrix = Describe(file.type, row_tile, file.rows, cols, first_col);
  Shard shard = {matrix, AlignedBytes(PackedBytes(matrix))};
  shard.matrix.data = shard.bytes.get();
  PackRows(matrix, shard.bytes.get(), 0, file.rows, file.At(0, first_col), file.row_bytes);
  return shard;
}

inline std::vector<float> RandomVector(size_t n, uint32_t seed, float scale = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> out(n);
  for (float& value : out) value = normal(random);
  return out;
}

}  // namespace onecopy::kernels
