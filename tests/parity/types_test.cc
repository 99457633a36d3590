// Every weight type through the whole engine: loaded, cut at 32 columns and computed by several ranks, each type alone and all
// in one file of several parts. The oracle is one rank with `ref`, whose products are held against ggml's values in
// tests/unit/kernels.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "kernels/quantize.h"
#include "runtime/base/new_file.h"
#include "runtime/cli/model_session.h"
#include "runtime/model/gguf_writer.h"
#include "tests/parity/temp_folder.h"
#include "tests/support/golden.h"
#include "tests/support/local_ranks.h"
#include "tests/unit/kernels/random_matrix.h"

namespace onecopy {
namespace {

using kernels::WeightType;
using parity::TempFolder;

const std::string kSource = ONECOPY_TEST_DATA "/goldens/gguf/qwen3_moe-Q8_0";

// The blocks of a tensor in another type: quantised where that can be done, else random.
std::string Blocks(const TensorInfo& tensor, const kernels::TypeInfo& to, const std::string& source) {
  uint64_t elements = 1;
  for (const uint64_t dim : tensor.shape) elements *= dim;
  std::string blocks(kernels::RowBytes(to, elements), '\0');
  auto* out = reinterpret_cast<uint8_t*>(blocks.data());
  const auto* in = reinterpret_cast<const uint8_t*>(source.data()) + tensor.offset;
  if (&to == tensor.info) {
    std::memcpy(out, in, blocks.size());
  } else if (const auto quantize = kernels::FindQuantizer(to.type)) {
    std::vector<float> values(elements);
    tensor.info->decode(in, values.data(), elements);
    quantize(values.data(), out, elements);
  } else {
    const auto cols = static_cast<uint32_t>(tensor.shape.back());
    const auto matrix = kernels::RandomMatrix(to.type, static_cast<uint32_t>(elements / cols), cols, cols);
    std::copy_n(matrix.bytes.data(), blocks.size(), out);
  }
  return blocks;
}

// A model whose matrices have the types that `type_of` gives for their numbers, where their rows allow it.
template <typename TypeOf>
void WriteModel(const std::string& path, const TypeOf& type_of) {
  const Checkpoint checkpoint = OpenCheckpoint(kSource + "/model.gguf");
  std::ifstream file(kSource + "/model.gguf", std::ios::binary);
  const std::string source(std::istreambuf_iterator<char>(file), {});
  std::vector<GgufOutputTensor> tensors;
  size_t matrices = 0;
  for (const TensorInfo& tensor : checkpoint.tensors) {
    const kernels::TypeInfo* to = tensor.info;
    if (tensor.info->type == WeightType::kQ8_0) {
      const kernels::TypeInfo& wanted = kernels::Info(type_of(matrices++));
      if (tensor.shape.back() % wanted.block_cols == 0) to = &wanted;
    }
    tensors.push_back({tensor.name, tensor.shape, to});
  }
  const GgufLayout layout = LayOutGguf(CarryOverPairs(checkpoint, 0), tensors);
  NewFile out(path, layout.file_bytes);
  out.Write(layout.header.data(), layout.header.size());
  for (size_t i = 0; i < layout.tensors.size(); ++i) {
    out.PadTo(layout.tensors[i].offset);
    const std::string blocks = Blocks(checkpoint.tensors[i], *layout.tensors[i].info, source);
    out.Write(blocks.data(), blocks.size());
  }
  out.PadTo(layout.file_bytes);
  out.Finish();
}

std::vector<float> Logits(const std::string& model, int ranks, const char* table) {
  setenv("ONECOPY_KERNELS", table, 1);
  std::vector<float> logits;
  const test::Golden golden(kSource);
  test::ExpectNoErrors(test::RunRanks(ranks, [&](comm::Communicator& comm) {
    cli::ModelOptions options;
    options.model = model;
    const cli::Seat seat = cli::TakeSeat(numa::ReadTopology(), {}, comm.rank_on_host(), comm.ranks_on_host());
    cli::ModelSession session(comm, seat, options,
                              [&](const Checkpoint&, const proto::ModelSpec&, proto::EngineOptions* engine) {
                                engine->set_kv_tokens(64);
                                engine->set_slots(1);
                              });
    session.Run([&](exec::Engine& engine) {
      const auto got = engine.Append(0, 0, golden.prompts()[1]);
      logits.assign(got.begin(), got.end());
      engine.Release(0);
    });
  }));
  unsetenv("ONECOPY_KERNELS");
  return logits;
}

void ExpectSameLogits(const std::string& model, const std::vector<float>& want, int ranks) {
  const std::vector<float> got = Logits(model, ranks, "ref");
  ASSERT_EQ(got.size(), want.size());
  float largest = 0;
  for (const float value : want) largest = std::max(largest, std::fabs(value));
  ASSERT_TRUE(std::isfinite(largest));
  ASSERT_GT(largest, 0.0f);
  for (size_t i = 0; i < want.size(); ++i)
    ASSERT_NEAR(got[i], want[i], 1e-4 * largest) << ranks << " ranks, logit " << i;
}

class EveryType : public ::testing::TestWithParam<WeightType> {};

TEST_P(EveryType, ThreeRanksGiveTheLogitsOfOne) {
  const TempFolder folder;
  const std::string model = folder / "model.gguf";
  WriteModel(model, [](size_t) { return GetParam(); });
  ExpectSameLogits(model, Logits(model, 1, "ref"), 3);
}

// The types that a GGUF file can have.
std::vector<WeightType> GgmlTypes() {
  std::vector<WeightType> types = kernels::AllWeightTypes();
  std::erase_if(types, [](WeightType type) { return kernels::Info(type).ggml_type == kernels::kNotGgml; });
  return types;
}

INSTANTIATE_TEST_SUITE_P(Types, EveryType, ::testing::ValuesIn(GgmlTypes()),
                         [](const auto& info) { return kernels::TypeName(info.param); });

TEST(AllTypesInOneModel, AnyNumberOfRanksGivesTheLogitsOfOne) {
  const TempFolder folder;
  const std::string model = folder / "model.gguf";
  const std::vector<WeightType> types = GgmlTypes();
  WriteModel(model, [&](size_t matrix) { return types[matrix % types.size()]; });
  const std::vector<float> want = Logits(model, 1, "ref");
  for (const int ranks : {2, 3, 24}) ExpectSameLogits(model, want, ranks);
}

}  // namespace
}  // namespace onecopy
