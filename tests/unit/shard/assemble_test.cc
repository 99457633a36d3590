// Weights in several tensors: what each rank packs is what the tensors' definitions give, element by element, however the
// files are cut into blocks. The oracle here reads one element at a time out of the safetensors file by itself.

#include "runtime/shard/assemble.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <numeric>

#include "runtime/model/model_spec.h"
#include "runtime/shard/loader.h"
#include "runtime/shard/packer.h"
#include "runtime/shard/plan.h"
#include "tests/support/kernel_table.h"
#include "tests/support/local_ranks.h"
#include "tests/support/shard_check.h"

namespace onecopy::shard {
namespace {

using proto::Weight;

const std::string kModelFolder = ONECOPY_TEST_MODELS "/";
const char* const kNames[] = {"gpt_oss",
                              "deepseek_v3_fp8",
                              "qwen3_moe_fp8_channel",
                              "qwen3_moe_int4_32",
                              "qwen3_moe_int4_128",
                              "qwen3_moe_awq",
                              "qwen3_moe_gptq",
                              "qwen3_moe_gptq_act_order",
                              "qwen3_moe_gptq_8",
                              "qwen3_moe_gptq_8_zeros",
                              "qwen3_moe_int8_32",
                              "qwen3_moe_int4_act_order"};

class Tensors {
 public:
  explicit Tensors(const std::string& folder) {
    std::ifstream file(folder + "/model.safetensors", std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
    uint64_t header;
    std::memcpy(&header, bytes.data(), 8);
    index = nlohmann::json::parse(bytes.substr(8, header));
    data = 8 + header;
    quantization = nlohmann::json::parse(std::ifstream(folder + "/config.json")).at("quantization_config");
  }
  bool Has(const std::string& name) const { return index.contains(name); }
  uint64_t Dim(const std::string& name, size_t i) const { return index.at(name).at("shape").at(i); }
  // nullptr where there is none.
  const char* Begin(const std::string& name) const {
    return Has(name) ? bytes.data() + data + index.at(name).at("data_offsets").at(0).get<uint64_t>()
                     : nullptr;
  }

  std::string bytes;
  nlohmann::json index, quantization;
  uint64_t data;
};

template <typename T>
T Load(const char* begin, uint64_t i) {
  T value;
  std::memcpy(&value, begin + i * sizeof(T), sizeof(T));
  return value;
}

float BF16(const char* begin, uint64_t i) {
  const uint32_t bits = static_cast<uint32_t>(Load<uint16_t>(begin, i)) << 16;
  return Load<float>(reinterpret_cast<const char*>(&bits), 0);
}

uint32_t Nibble(const char* begin, uint64_t word, uint32_t i) {
  return Load<uint32_t>(begin, word) >> (4 * i) & 15;
}
// Code number i of those in words.
uint32_t BitsOf(const char* begin, uint64_t i, uint32_t bits) {
  const uint64_t first = i * bits;
  return Load<uint32_t>(begin, first / 32) >> (first % 32) & ((1u << bits) - 1);
}

float Half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, mantissa = bits & 1023;
  const double value = exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, exponent - 25);
  return static_cast<float>(bits & 0x8000 ? -value : value);
}

float E4M3(uint8_t code) {
  const int exponent = code >> 3 & 15, mantissa = code & 7;
  const double value = exponent == 0 ? std::ldexp(mantissa, -9) : std::ldexp(8 + mantissa, exponent - 10);
  return static_cast<float>(code & 0x80 ? -value : value);
}

// Element (row, col) of a weight that is not plain.
class Oracle {
 public:
  Oracle(const Tensors& t, const Weight& weight, uint32_t expert) : w_(weight), expert_(expert) {
    std::string stem = weight.name();
    if (stem.size() > 7 && stem.substr(stem.size() - 7) == ".weight") stem.resize(stem.size() - 7);
    const std::string method = t.quantization.at("quant_method");
    const auto use = [&](auto form, const std::string& codes, const std::string& scales,
                         const std::string& zeros = "", const std::string& groups = "") {
      form_ = form;
      codes_ = t.Begin(codes);
      scales_ = t.Begin(scales);
      zeros_ = t.Begin(zeros);
      g_idx_ = t.Begin(groups);
      bits_ = t.quantization.value("bits", 4u);
      if (t.Has(scales)) scale_rows_ = t.Dim(scales, 0), scale_cols_ = t.Dim(scales, 1);
    };
    if (weight.layout() == Weight::ROWS)
      use(&Oracle::InTurn, weight.name(), "");
    else if (method == "mxfp4")
      use(&Oracle::Mxfp4, stem + "_blocks", stem + "_scales");
    else if (method == "awq")
      use(&Oracle::Awq, stem + ".qweight", stem + ".scales", stem + ".qzeros");
    else if (method == "gptq")
      use(&Oracle::Gptq, stem + ".qweight", stem + ".scales", stem + ".qzeros", stem + ".g_idx");
    else if (t.Has(stem + ".weight_packed"))
      use(&Oracle::Packed, stem + ".weight_packed", stem + ".weight_scale", stem + ".weight_zero_point",
          stem + ".weight_g_idx");
    else if (method == "fp8")
      use(&Oracle::F8Blocks, weight.name(), weight.name() + "_scale_inv");
    else
      use(&Oracle::F8Rows, weight.name(), weight.name() + "_scale");
    if (form_ == &Oracle::Packed)
      bits_ = t.quantization.at("config_groups").at("group_0").at("weights").at("num_bits");
  }
  float At(uint64_t r, uint64_t c) const { return (this->*form_)(r, c); }

 private:
  float InTurn(uint64_t, uint64_t c) const {
    return BF16(codes_, (expert_ * w_.cols() + c) * 2 + w_.phase());
  }
  float Code(uint64_t r, uint64_t c) const { return E4M3(Load<uint8_t>(codes_, r * w_.cols() + c)); }
  float F8Blocks(uint64_t r, uint64_t c) const {
    return Code(r, c) * Load<float>(scales_, r / 128 * scale_cols_ + c / 128);
  }
  float F8Rows(uint64_t r, uint64_t c) const { return Code(r, c) * BF16(scales_, r); }
  float Mxfp4(uint64_t r, uint64_t c) const {
    constexpr double kValues[] = {0, 0.5, 1, 1.5, 2, 3, 4, 6};
    const uint64_t turns = std::max(1u, w_.interleave()), blocks = w_.cols() / 32;
    const uint64_t block = ((expert_ * w_.rows() + r) * turns + w_.phase()) * blocks + c / 32;
    const auto byte = Load<uint8_t>(codes_, block * 16 + c % 32 / 2);
    const int code = c % 2 == 0 ? byte & 15 : byte >> 4;
    const double value = std::ldexp(kValues[code & 7], Load<uint8_t>(scales_, block) - 127);
    return static_cast<float>(code & 8 ? -value : value);
  }
  static float Value(uint32_t code, uint32_t zero, float scale) {
    return (static_cast<float>(code) - static_cast<float>(zero)) * scale;
  }
  float Packed(uint64_t r, uint64_t c) const {
    const uint64_t groups = scale_cols_, in_word = 32 / bits_;
    const uint64_t g = g_idx_ != nullptr ? Load<uint32_t>(g_idx_, c) : c * groups / w_.cols();
    const uint32_t zero = zeros_ != nullptr
                              ? BitsOf(zeros_, (r / in_word * groups + g) * in_word + r % in_word, bits_)
                              : 1u << (bits_ - 1);
    return Value(BitsOf(codes_, r * w_.cols() + c, bits_), zero, BF16(scales_, r * groups + g));
  }
  float Awq(uint64_t r, uint64_t c) const {
    constexpr uint32_t kOrder[] = {0, 2, 4, 6, 1, 3, 5, 7};  // nibble i holds row kOrder[i]
    const auto nibble =
        static_cast<uint32_t>(std::find(std::begin(kOrder), std::end(kOrder), r % 8) - std::begin(kOrder));
    const uint64_t g = c * scale_rows_ / w_.cols(), words = w_.rows() / 8;
    return Value(Nibble(codes_, c * words + r / 8, nibble), Nibble(zeros_, g * words + r / 8, nibble),
                 Half(Load<uint16_t>(scales_, g * w_.rows() + r)));
  }
  float Gptq(uint64_t r, uint64_t c) const {
    const uint64_t g = Load<uint32_t>(g_idx_, c), in_word = 32 / bits_;
    return Value(BitsOf(codes_, (c / in_word * w_.rows() + r) * in_word + c % in_word, bits_),
                 BitsOf(zeros_, g * w_.rows() + r, bits_) + 1,
                 Half(Load<uint16_t>(scales_, g * w_.rows() + r)));
  }

  const Weight& w_;
  const uint32_t expert_;
  float (Oracle::*form_)(uint64_t, uint64_t) const = nullptr;
  const char *codes_ = nullptr, *scales_ = nullptr, *zeros_ = nullptr, *g_idx_ = nullptr;
  uint64_t scale_rows_ = 0, scale_cols_ = 0;
  uint32_t bits_ = 4;
};

// Every element of the rank's shard of the assembled weights.
void ExpectValues(const Tensors& tensors, const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                  const WeightStore& store, int rank) {
  for (int w = 0; w < spec.weights_size(); ++w) {
    const Weight& weight = spec.weights(w);
    if (!IsAssembled(weight)) continue;
    for (uint32_t e = 0; e < std::max(1u, weight.n_experts()); ++e) {
      const kernels::PackedMatrix& m = store.Matrix(w, e);
      const Range range = OwnedRange(spec, plan, w, e, rank);
      const bool by_cols = plan.placements(w).axis() == proto::WeightPlacement::COLS;
      const Oracle oracle(tensors, weight, e);
      std::vector<float> row(m.cols), whole(weight.cols());
      for (uint32_t r = 0; r < m.rows; ++r) {
        kernels::UnpackRow(m, r, row.data());
        for (uint32_t c = 0; c < weight.cols(); ++c) whole[c] = oracle.At(by_cols ? r : range.begin + r, c);
        const std::vector<float> want = test::AsLoaded(weight, whole);
        for (uint32_t c = 0; c < m.cols; ++c)
          ASSERT_EQ(row[c], want[by_cols ? range.begin + c : c])
              << weight.name() << " expert " << e << " row " << r << " column " << c << " of rank " << rank;
      }
    }
  }
}

uint64_t BytesOfWeights(const proto::ModelSpec& spec) {
  std::map<std::pair<uint32_t, uint64_t>, uint64_t> tensors;  // weights that take turns share theirs
  for (const Weight& w : spec.weights()) {
    const uint64_t experts = std::max(1u, w.n_experts());
    if (!IsAssembled(w)) {
      const kernels::TypeInfo& info = FileInfo(w);
      tensors[{w.file(), w.offset()}] = w.rows() * kernels::RowBytes(info, w.cols()) * experts;
      continue;
    }
    for (const SourcePart& part : PartsOf(w)) {
      const LineRange lines = LinesOf(w, part, 0, LinesAreColumns(w) ? w.cols() : w.rows());
      tensors[{part.file, part.offset}] = lines.end * part.line_bytes * experts;
    }
  }
  uint64_t bytes = 0;
  for (const auto& [place, n] : tensors) bytes += n;
  return bytes;
}

using Cut = std::pair<int, uint64_t>;  // ranks, bytes of a block at most
// Packs the model for several rank counts out of blocks of several sizes.
void ExpectValuesHoweverCut(const Tensors& tensors, const proto::ModelSpec& spec,
                            const std::vector<Cut>& cases = {{1, 1 << 30}, {3, 1 << 12}, {7, 1 << 16}}) {
  const kernels::KernelTable& table = test::AnyTable();
  for (const auto& [ranks, max_bytes] : cases) {
    SCOPED_TRACE(std::to_string(ranks) + " ranks, blocks of " + std::to_string(max_bytes));
    const auto plan = MakeShardPlan(spec, table, {.ranks = ranks, .shares = {}});
    std::vector<int> all(ranks);
    std::iota(all.begin(), all.end(), 0);
    const auto blocks = MakeReadList(spec, plan, all, max_bytes);
    for (int rank = 0; rank < ranks; ++rank) {
      numa::ArenaSource memory;
      const WeightStore store(spec, plan, table, rank, &memory);
      const Packer packer(spec, plan, store, rank);
      for (const ReadBlock& block : blocks) {
        std::string bytes;
        for (const FilePiece& piece : block.pieces)
          for (uint64_t run = 0; run < piece.runs; ++run)
            bytes += tensors.bytes.substr(piece.offset + run * piece.stride, piece.bytes);
        ASSERT_EQ(bytes.size(), block.bytes);
        std::vector<PackTask> tasks;
        for (const ReadItem& item : block.items)
          packer.Split(item, reinterpret_cast<const uint8_t*>(bytes.data()), &tasks);
        for (const PackTask& task : tasks) packer.Pack(task);
      }
      EXPECT_FALSE(packer.error());
      ExpectValues(tensors, spec, plan, store, rank);
    }
  }
}

class Assembled : public ::testing::TestWithParam<const char*> {
 protected:
  const std::string folder_ = kModelFolder + GetParam();
};

TEST_P(Assembled, ShardsAreTheTensorsValuesHoweverTheFilesAreCut) {
  ExpectValuesHoweverCut(Tensors(folder_), BuildModelSpec(OpenCheckpoint(folder_)));
}

TEST_P(Assembled, QuantisedWhileLoadingTheyAreTheBlocksOfWholeRows) {
  for (const auto type : {kernels::WeightType::kQ4_0, kernels::WeightType::kQ4_K}) {
    SCOPED_TRACE(kernels::Info(type).name);
    proto::ModelSpec spec = BuildModelSpec(OpenCheckpoint(folder_));
    test::QuantiseAll(type, &spec);
    ExpectValuesHoweverCut(Tensors(folder_), spec, {{3, 1 << 12}});
  }
}

TEST_P(Assembled, ALoadReadsEachByteOnce) {
  const Tensors tensors(folder_);
  const proto::ModelSpec spec = BuildModelSpec(OpenCheckpoint(folder_));
  const kernels::KernelTable& table = test::AnyTable();
  const int ranks = 3;
  const auto plan = MakeShardPlan(spec, table, {.ranks = ranks, .shares = {}});
  std::mutex mutex;
  uint64_t read = 0;
  test::ExpectNoErrors(test::RunRanks(ranks, [&](comm::Communicator& comm) {
    numa::ArenaSource memory;
    const WeightStore store(spec, plan, table, comm.rank(), &memory);
    const LoadStats stats = LoadWeights(comm, spec, plan, store, comm.rank());
    const std::lock_guard lock(mutex);  // gtest's assertions
    read += stats.bytes_read;
    ExpectValues(tensors, spec, plan, store, comm.rank());
  }));
  EXPECT_GE(read, BytesOfWeights(spec));
  EXPECT_LE(read, tensors.bytes.size());
}

INSTANTIATE_TEST_SUITE_P(Models, Assembled, ::testing::ValuesIn(kNames),
                         [](const auto& info) { return std::string(info.param); });

// Loads a copy of the model with some bytes of a tensor changed; the error of each rank.
std::vector<std::string> LoadBroken(const std::string& name, const std::string& tensor,
                                    const std::string& bytes) {
  const std::string folder = ::testing::TempDir() + "/broken_" + name;
  std::filesystem::remove_all(folder);
  std::filesystem::copy(kModelFolder + name, folder, std::filesystem::copy_options::recursive);
  const Tensors tensors(folder);
  const uint64_t begin = tensors.index.at(tensor).at("data_offsets").at(0);
  std::filesystem::permissions(folder + "/model.safetensors", std::filesystem::perms::owner_all);
  std::fstream file(folder + "/model.safetensors", std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(tensors.data + begin));
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  const proto::ModelSpec spec = BuildModelSpec(OpenCheckpoint(folder));
  const kernels::KernelTable& table = test::AnyTable();
  const auto plan = MakeShardPlan(spec, table, {.ranks = 2, .shares = {}});
  auto errors = test::RunRanks(2, [&](comm::Communicator& comm) {
    numa::ArenaSource memory;
    const WeightStore store(spec, plan, table, comm.rank(), &memory);
    LoadWeights(comm, spec, plan, store, comm.rank());
  });
  std::filesystem::remove_all(folder);
  return errors;
}

TEST(AssembledErrors, ACodeThatIsNoNumberIsRefusedByName) {
  const std::string name = "model.layers.1.mlp.experts.3.up_proj.weight";
  for (const std::string& e : LoadBroken("deepseek_v3_fp8", name, "\xff")) {
    EXPECT_NE(e.find(name), std::string::npos) << e;
    EXPECT_NE(e.find("not a number"), std::string::npos) << e;
  }
}

TEST(AssembledErrors, ColumnsOutOfOrderAreRefusedByName) {
  const std::string name = "model.layers.0.mlp.experts.1.down_proj";
  for (const std::string& e : LoadBroken("qwen3_moe_gptq", name + ".g_idx", std::string("\1\0\0\0", 4))) {
    EXPECT_NE(e.find(name), std::string::npos) << e;
    EXPECT_NE(e.find("act-order"), std::string::npos) << e;
  }
}

TEST(AssembledErrors, AGroupWithoutScalesIsRefusedByName) {
  const std::string name = "model.layers.1.mlp.experts.2.down_proj";
  for (const std::string& e :
       LoadBroken("qwen3_moe_gptq_act_order", name + ".g_idx", std::string("\xff\xff\xff\xff", 4))) {
    EXPECT_NE(e.find(name), std::string::npos) << e;
    EXPECT_NE(e.find("no scales"), std::string::npos) << e;
  }
}

TEST(AssembledErrors, AZeroThatASymmetricModelHasNotIsRefusedByName) {
  const std::string name = "model.layers.0.mlp.experts.1.up_proj";
  for (const std::string& e : LoadBroken("qwen3_moe_gptq_8", name + ".qzeros", std::string("\x7e", 1))) {
    EXPECT_NE(e.find(name), std::string::npos) << e;
    EXPECT_NE(e.find("expected 128"), std::string::npos) << e;
  }
}

}  // namespace
}  // namespace onecopy::shard
