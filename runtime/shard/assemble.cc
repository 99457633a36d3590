#include "runtime/shard/assemble.h"

#include <bit>
#include <cstring>

#include "kernels/types.h"
#include "kernels/types/e4m3.h"
#include "kernels/types/int4.h"
#include "runtime/shard/source.h"

namespace onecopy::shard {
namespace {

using kernels::LoadU32;
using kernels::WeightType;
using proto::Weight;

// One part of the item's weight, in memory.
struct View {
  const uint8_t* lines = nullptr;  // null: there is no such part
  uint64_t first_line = 0, line_bytes = 0;
  uint32_t span = 1;
  const kernels::TypeInfo* info = nullptr;  // of scales

  // Of a row (column) of the tensor.
  const uint8_t* Line(uint64_t at) const { return lines + (at / span - first_line) * line_bytes; }
  float Number(uint64_t at, uint64_t i) const {
    float value;
    info->decode(Line(at) + i * info->block_bytes, &value, 1);
    return value;
  }
};

struct Job {
  const Weight& weight;
  const kernels::TypeInfo& info;
  View codes, scales, zeros, groups;
  uint32_t col_begin, col_end;

  uint64_t TensorRow(uint64_t row) const {
    return PlaceOf(weight, row) * LinesPerOwn(weight) + weight.phase();
  }
  // Of integers: columns of a group are where they may be. A line of scales has then all groups.
  bool act_order() const {
    return groups.lines != nullptr && (!LinesAreColumns(weight) || scales.span == weight.cols());
  }
  uint32_t GroupOf(uint64_t row, uint32_t c) const {
    if (groups.lines == nullptr) return c / weight.group_cols();
    return LinesAreColumns(weight) ? LoadU32(groups.Line(c)) : LoadU32(groups.Line(row) + 4 * uint64_t{c});
  }
};

Job MakeJob(const Weight& weight, const ReadItem& item, const uint8_t* block, uint32_t col_begin,
            uint32_t col_end) {
  const kernels::TypeInfo& info = FileInfo(weight);
  Job job = {weight, info, {}, {}, {}, {}, col_begin, col_end};
  const std::vector<SourcePart> parts = PartsOf(weight);
  const uint64_t begin = LinesAreColumns(weight) ? item.col_begin : item.row_begin;
  for (size_t p = 0; p < parts.size(); ++p) {
    const auto kind =
        weight.layout() == Weight::ROWS ? Weight::Part::CODES : weight.parts(static_cast<int>(p)).kind();
    View& view = kind == Weight::Part::CODES    ? job.codes
                 : kind == Weight::Part::SCALES ? job.scales
                 : kind == Weight::Part::ZEROS  ? job.zeros
                                                : job.groups;
    view = {block + item.part_offsets[p], LinesOf(weight, parts[p], begin, begin + 1).first,
            parts[p].line_bytes, parts[p].span, &kernels::Info(static_cast<WeightType>(parts[p].type))};
  }
  return job;
}

// 16 bytes with neighbours in a byte, the first in its low nibble, to columns c in the low and 16 + c in the high nibble
// of byte c.
void SplitNeighbours(const uint8_t* in, uint8_t* out) {
  using Bytes __attribute__((vector_size(16))) = uint8_t;
  Bytes both;
  std::memcpy(&both, in, sizeof both);
  const Bytes even = both & 15, odd = both >> 4;
  const Bytes first =
      __builtin_shufflevector(even, odd, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const Bytes second =
      __builtin_shufflevector(even, odd, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
  const Bytes split = first | (second << 4);
  std::memcpy(out, &split, sizeof split);
}

// A vector whose elements take turns with others', or whole rows that do.
void AssembleFloats(const Job& job, uint64_t row, uint8_t* out) {
  const size_t size = job.info.block_bytes;
  const bool vector = job.weight.rows() == 1;
  const uint64_t step = vector ? job.weight.interleave() : 1, first = vector ? job.weight.phase() : 0;
  const uint8_t* line = job.codes.Line(vector ? row : job.TensorRow(row));
  for (uint64_t c = job.col_begin; c < job.col_end; ++c, out += size)
    std::memcpy(out, line + (c * step + first) * size, size);
}

// Lines are columns, of which each has the elements of all rows: a few rows at a time, so that a line is read once.
void AssembleTransposed(const Job& job, uint32_t row_begin, uint32_t row_end, uint64_t row_bytes,
                        uint8_t* out) {
  const size_t size = job.info.block_bytes;
  const uint64_t first = uint64_t{job.weight.phase()} * job.weight.rows() + row_begin;
  for (uint32_t c = job.col_begin; c < job.col_end; ++c, out += size) {
    const uint8_t* line = job.codes.Line(c) + first * size;
    for (uint32_t r = 0; r < row_end - row_begin; ++r)
      std::memcpy(out + r * row_bytes, line + r * size, size);
  }
}

void AssembleMxfp4(const Job& job, uint64_t row, uint8_t* out) {
  const uint8_t* codes = job.codes.Line(job.TensorRow(row));
  const uint8_t* scales = job.scales.Line(job.TensorRow(row));
  for (uint32_t c = job.col_begin; c < job.col_end; c += 32, out += 17) {
    out[0] = scales[c / 32];
    SplitNeighbours(codes + c / 2, out + 1);
  }
}

// False where a code is not a number.
bool AssembleF8(const Job& job, uint64_t row, uint8_t* out) {
  const uint8_t* codes = job.codes.Line(job.TensorRow(row));
  uint8_t bad = 0;
  for (uint32_t c = job.col_begin; c < job.col_end; ++c) bad |= kernels::IsNanE4M3(codes[c]) ? 1 : 0;
  for (uint32_t c = job.col_begin; c < job.col_end; c += 128, out += 132) {
    const auto scale =
        std::bit_cast<uint32_t>(job.scales.Number(job.TensorRow(row), c / job.weight.group_cols()));
    const uint32_t n = std::min<uint32_t>(128, job.col_end - c);
    std::memcpy(out, &scale, 4);
    std::memcpy(out + 4, codes + c, n);
    std::memset(out + 4 + n, 0, 128 - n);
  }
  return bad == 0;
}

// Where AWQ's words of eight rows have a row's nibble.
constexpr uint32_t kAwqNibble[8] = {0, 4, 1, 5, 2, 6, 3, 7};

uint32_t Nibble(const uint8_t* words, uint64_t word, uint32_t nibble) {
  return LoadU32(words + 4 * word) >> (4 * nibble) & 15;
}
// Number i of codes in words, the first in a word's lowest bits.
uint32_t CodeIn(const Job& job, const uint8_t* words, uint64_t i) {
  const uint32_t bits = job.weight.code_bits(), in_word = 32 / bits;
  return LoadU32(words + 4 * (i / in_word)) >> (bits * (i % in_word)) & ((1u << bits) - 1);
}

uint32_t CodeOf(const Job& job, uint64_t row, uint32_t c) {
  if (job.weight.layout() == Weight::INT_ROWS) return CodeIn(job, job.codes.Line(row), c);
  return CodeIn(job, job.codes.Line(c) + 4 * row, c % (32 / job.weight.code_bits()));
}

// 32 columns of 4 bits from c on, split as in SplitNeighbours.
void Int4Codes(const Job& job, uint64_t row, uint32_t c, uint8_t* out) {
  uint8_t bytes[16];
  switch (job.weight.layout()) {
    case Weight::INT_GPTQ:
      for (uint32_t j = 0; j < 4; ++j)
        std::memcpy(bytes + size_t{4} * j, job.codes.Line(c + 8 * j) + 4 * row, 4);
      return SplitNeighbours(bytes, out);
    case Weight::INT4_AWQ:
      for (uint32_t i = 0; i < 16; ++i)
        out[i] = static_cast<uint8_t>(Nibble(job.codes.Line(c + i), row / 8, kAwqNibble[row % 8]) |
                                      Nibble(job.codes.Line(c + 16 + i), row / 8, kAwqNibble[row % 8]) << 4);
      return;
    default:
      return SplitNeighbours(job.codes.Line(row) + c / 2, out);
  }
}

// Of a row in a group, which column c is of. Lines that are columns are of one group each; of act-order there is one, which
// has all groups.
uint64_t NumberInLine(const Job& job, uint64_t row, uint32_t group) {
  if (!LinesAreColumns(job.weight)) return group;
  return row + (job.act_order() ? group * job.weight.rows() : 0);
}
float ScaleOf(const Job& job, uint64_t row, uint32_t c, uint32_t group) {
  return job.scales.Number(LinesAreColumns(job.weight) ? c : row, NumberInLine(job, row, group));
}
uint32_t ZeroOf(const Job& job, uint64_t row, uint32_t c, uint32_t group) {
  const uint32_t offset = job.weight.zero_offset(), in_word = 32 / job.weight.code_bits();
  if (job.zeros.lines == nullptr) return offset;
  switch (job.weight.layout()) {
    case Weight::INT_GPTQ:
      return CodeIn(job, job.zeros.Line(c), NumberInLine(job, row, group)) + offset;
    case Weight::INT4_AWQ:
      return Nibble(job.zeros.Line(c), row / 8, kAwqNibble[row % 8]) + offset;
    default:
      return CodeIn(job, job.zeros.Line(row), uint64_t{group} * in_word + row % in_word) + offset;
  }
}

void AssembleInt4(const Job& job, uint64_t row, uint8_t* out) {
  const uint32_t block_cols = job.info.block_cols;
  const auto type = job.info.type;
  for (uint32_t c = job.col_begin; c < job.col_end; c += block_cols, out += job.info.block_bytes) {
    const uint32_t group = c / job.weight.group_cols();
    size_t header = 2;
    if (type == WeightType::kInt4_BF16 || type == WeightType::kQ4_0) {
      std::memcpy(out, job.scales.Line(row) + 2 * uint64_t{group}, 2);
    } else {
      header = 3;
      kernels::StoreInt4Header(ScaleOf(job, row, c, group), ZeroOf(job, row, c, group), out);
    }
    for (uint32_t u = 0; u < block_cols; u += 32) {
      uint8_t* codes = out + header + u / 2;
      c + u < job.col_end ? Int4Codes(job, row, c + u, codes) : static_cast<void>(std::memset(codes, 0, 16));
    }
  }
}

// Blocks of Q8_0 or INT8_BF16. False where a zero is not 128.
bool AssembleInt8(const Job& job, uint64_t row, uint8_t* out) {
  const bool columns = LinesAreColumns(job.weight);
  bool middle = true;
  for (uint32_t c = job.col_begin; c < job.col_end; c += 32, out += 34) {
    const uint32_t group = c / job.weight.group_cols();
    std::memcpy(out, job.scales.Line(columns ? c : row) + 2 * NumberInLine(job, row, group), 2);
    middle &= ZeroOf(job, row, c, group) == 128;
    if (columns)
      for (uint32_t i = 0; i < 32; i += 4) std::memcpy(out + 2 + i, job.codes.Line(c + i) + 4 * row, 4);
    else
      std::memcpy(out + 2, job.codes.Line(row) + c, 32);
    for (uint32_t i = 2; i < 34; ++i) out[i] ^= 0x80;
  }
  return middle;
}

// Exact: a scale has at most 11 bits, a code less its zero 9.
void AssembleIntAsFloat(const Job& job, uint64_t row, uint8_t* out) {
  for (uint32_t c = job.col_begin; c < job.col_end; ++c, out += 4) {
    const uint32_t group = job.GroupOf(row, c);
    const int code = static_cast<int>(CodeOf(job, row, c)) - static_cast<int>(ZeroOf(job, row, c, group));
    const float value = static_cast<float>(code) * ScaleOf(job, row, c, group);
    std::memcpy(out, &value, 4);
  }
}

const char* AssembleInt(const Job& job, uint64_t row, uint8_t* out) {
  switch (job.info.type) {
    case WeightType::kF32:
      AssembleIntAsFloat(job, row, out);
      return nullptr;
    case WeightType::kQ8_0:
    case WeightType::kInt8_BF16:
      if (AssembleInt8(job, row, out)) return nullptr;
      return "qzeros: expected 128 for every group, as \"sym\": true of quantization_config says; found "
             "another";
    default:
      AssembleInt4(job, row, out);
      return nullptr;
  }
}

// What is wrong with the groups of an item's columns: unknown ones, or others than the type of the weight supposes.
const char* ProblemOfGroups(const Job& job) {
  if (job.groups.lines == nullptr) return nullptr;
  const uint64_t n_groups = DivUp(job.weight.cols(), job.weight.group_cols());
  for (uint32_t c = job.col_begin; c < job.col_end; ++c) {
    const uint32_t group = job.GroupOf(0, c);
    if (job.act_order() && group >= n_groups) return "g_idx: a column is of a group that has no scales";
    if (!job.act_order() && group != c / job.weight.group_cols())
      return "g_idx: the columns of a group do not follow each other (act-order), expected \"desc_act\": "
             "true in quantization_config";
  }
  return nullptr;
}

}  // namespace

const char* AssembleRows(const Weight& weight, const ReadItem& item, const uint8_t* block, uint32_t row_begin,
                         uint32_t row_end, uint32_t col_begin, uint32_t col_end, uint8_t* out) {
  const Job job = MakeJob(weight, item, block, col_begin, col_end);
  if (const char* problem = ProblemOfGroups(job)) return problem;
  const uint64_t row_bytes = kernels::RowBytes(job.info, col_end - col_begin);
  if (weight.layout() == Weight::FLOATS_TRANSPOSED) {
    AssembleTransposed(job, row_begin, row_end, row_bytes, out);
    return nullptr;
  }
  bool numbers = true;
  for (uint32_t row = row_begin; row < row_end; ++row, out += row_bytes) {
    switch (weight.layout()) {
      case Weight::MXFP4_TENSORS:
        AssembleMxfp4(job, row, out);
        break;
      case Weight::F8_TENSORS:
        numbers &= AssembleF8(job, row, out);
        break;
      case Weight::INT_ROWS:
      case Weight::INT_GPTQ:
      case Weight::INT4_AWQ:
        if (const char* problem = AssembleInt(job, row, out)) return problem;
        break;
      default:
        AssembleFloats(job, row, out);
    }
  }
  return numbers ? nullptr : "a weight is not a number (code 0x7F or 0xFF of E4M3)";
}

}  // namespace onecopy::shard
