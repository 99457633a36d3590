// Speed of one thread: matmul of every table and weight type for 1 (decode) to 512 tokens (prefill),
// packing, attention, and a plain read loop of the same run to hold the bytes per second against. Weights
// come from a working set larger than any cache; each iteration takes its next slice.
#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <string>
#include <type_traits>

#include "kernels/kernels.h"
#include "kernels/registry.h"
#include "tests/unit/kernels/random_matrix.h"

namespace onecopy::kernels {
namespace {

constexpr uint64_t kWorkingSet = uint64_t{1} << 29;
constexpr uint32_t kCols = 2048;
constexpr uint32_t kSourceRows = 512;

// The packed working set; one at a time, since each is half a gigabyte.
const Shard& WorkingSet(WeightType type, uint32_t row_tile) {
  static std::unique_ptr<Shard> set;
  if (set != nullptr && set->matrix.type == type && set->matrix.row_tile == row_tile) return *set;
  set.reset();
  PackedMatrix matrix = Describe(type, row_tile, kSourceRows, kCols, 0);
  matrix.rows = static_cast<uint32_t>(kWorkingSet / PackedBytes(matrix) * kSourceRows);
  const FileMatrix source = RandomMatrix(type, kSourceRows, kCols, 1);
  set = std::make_unique<Shard>(Shard{matrix, AlignedBytes(PackedBytes(matrix), AlignedBytes::kUntouched)});
  set->matrix.data = set->bytes.get();
  // As a rank's arena asks for them; with 4 KiB pages one stream reads a third less.
  void* first_page = set->bytes.get();
  size_t bytes = set->bytes.size();
  std::align(4096, 4096, first_page, bytes);
  madvise(first_page, bytes / 4096 * 4096, MADV_HUGEPAGE);
  for (uint32_t row = 0; row < matrix.rows; row += kSourceRows) {
    PackRows(set->matrix, set->bytes.get(), row, kSourceRows, source.At(0, 0), source.row_bytes);
  }
  return *set;
}

void ReportRates(benchmark::State& state, double bytes, double flops) {
  const auto n = static_cast<double>(state.iterations());
  state.counters["B/s"] = benchmark::Counter(bytes * n, benchmark::Counter::kIsRate);
  if (flops > 0) state.counters["FLOP/s"] = benchmark::Counter(flops * n, benchmark::Counter::kIsRate);
}

void ReadBandwidth(benchmark::State& state) {
  const Shard& set = WorkingSet(WeightType::kF32, 1);
  const auto* words = reinterpret_cast<const uint64_t*>(set.bytes.get());
  const size_t n = set.bytes.size() / sizeof(uint64_t) / 16 * 16;
  for (auto _ : state) {
    uint64_t sums[16] = {};
    for (size_t i = 0; i < n; i += 16) {
      for (size_t j = 0; j < 16; ++j) sums[j] += words[i + j];
    }
    benchmark::DoNotOptimize(sums);
  }
  ReportRates(state, static_cast<double>(n * sizeof(uint64_t)), 0);
}

// Y: float for matmul, double for matmul_sum.
template <typename Y>
void Matmul(benchmark::State& state, const KernelTable& table, WeightType type, size_t n_tokens) {
  const uint32_t row_tile = table.weights[static_cast<size_t>(type)].row_tile;
  const MatmulKernel& kernel = table.ForPrompt(type, n_tokens);
  const Shard& w = WorkingSet(type, row_tile);
  const std::vector<float> token = RandomVector(kCols, 2);
  // One buffer, as exec has it.
  const size_t row_bytes = ActRowBytes(kernel.act, kCols);
  const AlignedBytes x(n_tokens * row_bytes);
  const uint32_t slice = n_tokens <= 4 ? 8192 : 768;
  std::vector<std::vector<Y>> y(n_tokens, std::vector<Y>(slice));  // of one slice, as exec has it
  std::vector<const void*> in;
  std::vector<Y*> out;
  for (size_t t = 0; t < n_tokens; ++t) {
    MakeActRow(table, kernel.act, token.data(), kCols, x.get() + t * row_bytes);
    in.push_back(x.get() + t * row_bytes);
    out.push_back(y[t].data());
  }
  PackedMatrix part = w.matrix;
  part.rows = slice;
  uint32_t row = 0;
  for (auto _ : state) {
    if (row + slice > w.matrix.rows) row = 0;
    part.data = w.matrix.data + row / row_tile * TileBytes(part);
    if constexpr (std::is_same_v<Y, float>) {
      kernel.matmul(part, in.data(), out.data(), n_tokens, 0, slice);
    } else {
      kernel.matmul_sum(part, in.data(), out.data(), n_tokens, 0, slice);
    }
    benchmark::ClobberMemory();
    row += slice;
  }
  const double bytes = static_cast<double>(TileBytes(w.matrix)) / row_tile * slice;
  ReportRates(state, bytes, 2.0 * slice * kCols * static_cast<double>(n_tokens));
}

// B/s: of the file.
void Pack(benchmark::State& state, WeightType type, uint32_t row_tile) {
  const FileMatrix source =
      RandomMatrix(type, static_cast<uint32_t>(kWorkingSet / 8 / RowBytes(Info(type), kCols)), kCols, 3);
  PackedMatrix matrix = Describe(type, row_tile, source.rows, kCols, 0);
  AlignedBytes bytes(PackedBytes(matrix));
  for (auto _ : state) {
    PackRows(matrix, bytes.get(), 0, source.rows, source.At(0, 0), source.row_bytes);
    benchmark::ClobberMemory();
  }
  ReportRates(state, static_cast<double>(source.bytes.size()), 0);
}

struct AttentionShape {
  const char* name;
  size_t heads, head_dim, v_dim;
};

double BytesOf(const KernelTable& table, const AttentionShape& shape, size_t positions) {
  return static_cast<double>(
      positions * (KvRowBytes(table.kv_type, shape.head_dim) + KvRowBytes(table.kv_type, shape.v_dim)));
}

// B/s: of keys and values read. Rows are multiples of 32, so that many are stored as one.
void Attend(benchmark::State& state, const KernelTable& table, const AttentionShape& shape) {
  const size_t positions = 4096;
  const std::vector<float> q = RandomVector(shape.heads * shape.head_dim, 4, 0.1f);
  const std::vector<float> keys = RandomVector(positions * shape.head_dim, 5);
  std::vector<uint8_t> k(positions * KvRowBytes(table.kv_type, shape.head_dim));
  table.store_kv(keys.data(), keys.size(), k.data());
  std::vector<float> acc(shape.heads * shape.v_dim), scratch(shape.heads * kKvPagePositions);
  std::vector<SoftmaxState> softmax(shape.heads, {-std::numeric_limits<float>::infinity(), 0.0f});
  const size_t page_bytes = kKvPagePositions * KvRowBytes(table.kv_type, shape.head_dim);
  for (auto _ : state) {
    // As in MLA, where the values are the first columns of the keys.
    for (const uint8_t* page = k.data(); page < k.data() + k.size(); page += page_bytes)
      table.attend(q.data(), shape.heads, shape.head_dim, page, shape.head_dim, page, shape.v_dim,
                   shape.head_dim, kKvPagePositions, nullptr, softmax.data(), acc.data(), scratch.data());
    benchmark::ClobberMemory();
  }
  const auto columns = static_cast<double>(shape.head_dim + shape.v_dim);
  ReportRates(state, BytesOf(table, shape, positions),
              2.0 * columns * static_cast<double>(positions * shape.heads));
}

// The last 256 rows' worth of tokens of a prefill of 4096.
void AttendOfBlock(benchmark::State& state, const KernelTable& table, const AttentionShape& shape) {
  constexpr size_t kPositions = 4096, kRows = 256;
  const size_t n_tokens = kRows / shape.heads, row_bytes = KvRowBytes(table.kv_type, shape.head_dim);
  const std::vector<float> q = RandomVector(kRows * shape.head_dim, 4, 0.1f);
  const std::vector<float> keys = RandomVector(kPositions * shape.head_dim, 5);
  std::vector<uint8_t> k(kPositions * row_bytes);
  table.store_kv(keys.data(), keys.size(), k.data());
  std::vector<const void*> pages;
  for (size_t p = 0; p < kPositions; p += kKvPagePositions) pages.push_back(k.data() + p * row_bytes);
  std::vector<float> out(kRows * shape.v_dim);
  AttendBlock block = {};
  block.n_tokens = n_tokens;
  block.n_heads = shape.heads;
  block.head_dim = block.v_stride =
      shape.head_dim;  // the values are the first columns of the keys, as in MLA
  block.v_dim = shape.v_dim;
  block.first_position = kPositions - n_tokens;
  block.q = q.data();
  block.q_stride = shape.heads * shape.head_dim;
  block.k_pages = block.v_pages = pages.data();
  block.out = out.data();
  block.out_stride = shape.heads * shape.v_dim;
  AlignedBytes scratch(table.attend_block_bytes(block));
  block.scratch = scratch.get();
  for (auto _ : state) {
    table.attend_block(block);
    benchmark::ClobberMemory();
  }
  const auto columns = static_cast<double>(shape.head_dim + shape.v_dim);
  ReportRates(state, BytesOf(table, shape, kPositions),
              2.0 * columns * static_cast<double>(kPositions * kRows));
}

// One hidden state of 7168: B/s of the input.
void Elementwise(benchmark::State& state, const KernelTable& table, const std::string& op) {
  const size_t n = 7168;
  std::vector<float> x = RandomVector(n, 6), weight = RandomVector(n, 7), out(n);
  AlignedBytes q(Q8RowBytes(n));
  for (auto _ : state) {
    if (op == "rms_norm") table.rms_norm(x.data(), weight.data(), 1e-6f, n, out.data());
    if (op == "silu_mul") table.silu_mul(x.data(), weight.data(), n, out.data());
    if (op == "quantize_q8") table.quantize_q8(x.data(), n, q.get());
    if (op == "softmax") table.softmax(out.data(), n);
    benchmark::ClobberMemory();
  }
  ReportRates(state, static_cast<double>(n * sizeof(float)), 0);
}

void RegisterTable(const TableEntry& entry) {
  const std::string table = std::string("/") + entry.name;
  if (!entry.supported()) {
    benchmark::RegisterBenchmark(("matmul" + table).c_str(), [&entry](benchmark::State& state) {
      state.SkipWithError((std::string("this CPU lacks ") + entry.requires_isa).c_str());
    });
    return;
  }
  const KernelTable& kernels = entry.table();
  for (size_t i = 0; i < static_cast<size_t>(WeightType::kCount); ++i) {
    const auto type = static_cast<WeightType>(i);
    for (const size_t tokens : {1, 2, 3, 4, 8, 16, 32, 64, 128, 512}) {
      const std::string name = table + "/" + TypeName(type) + "/tokens:" + std::to_string(tokens);
      benchmark::RegisterBenchmark(("matmul" + name).c_str(), Matmul<float>, kernels, type, tokens)
          ->Unit(benchmark::kMillisecond);
      benchmark::RegisterBenchmark(("matmul_sum" + name).c_str(), Matmul<double>, kernels, type, tokens)
          ->Unit(benchmark::kMillisecond);
    }
    benchmark::RegisterBenchmark(("pack" + table + "/" + TypeName(type)).c_str(), Pack, type,
                                 kernels.weights[i].row_tile)
        ->Unit(benchmark::kMillisecond);
  }
  for (const AttentionShape& shape :
       {AttentionShape{"gqa8x128", 8, 128, 128}, {"mla128x576", 128, 576, 512}}) {
    for (const KvType type : {KvType::kF16, KvType::kQ8_0}) {
      const KernelTable& cached = WithCache(kernels, type);
      const std::string name = table + "/" + shape.name + "/" + KvTypeName(cached.kv_type);
      benchmark::RegisterBenchmark(("attend" + name).c_str(), Attend, cached, shape)
          ->Unit(benchmark::kMicrosecond);
      benchmark::RegisterBenchmark(("attend_block" + name).c_str(), AttendOfBlock, cached, shape)
          ->Unit(benchmark::kMillisecond);
    }
  }
  for (const char* op : {"rms_norm", "silu_mul", "quantize_q8", "softmax"}) {
    benchmark::RegisterBenchmark((op + table).c_str(), Elementwise, kernels, op);
  }
}

// Before main(), which is google-benchmark's own.
const bool kRegistered = [] {
  benchmark::RegisterBenchmark("read", ReadBandwidth)->Unit(benchmark::kMillisecond);
  for (const TableEntry& entry : AllTables()) RegisterTable(entry);
  return true;
}();

}  // namespace
}  // namespace onecopy::kernels
