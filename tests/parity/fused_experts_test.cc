// GGUF files whose experts have gate and up in one tensor (convert_hf_to_gguf.py --fuse-gate-up-exps: of each expert the rows of
// gate, then those of up) compute what the same files with two tensors do, bit for bit, and are counted and cut alike.
#include <gtest/gtest.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "runtime/base/new_file.h"
#include "runtime/cli/command.h"
#include "runtime/model/gguf_writer.h"
#include "runtime/model/model_spec.h"
#include "runtime/model/summary.h"
#include "tests/parity/golden_cases.h"

namespace onecopy::parity {
namespace {

class TempFile {
 public:
  TempFile() {
    char name[] = "/tmp/onecopy-test-XXXXXX.gguf";
    close(mkstemps(name, 5));
    path_ = name;
  }
  ~TempFile() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

struct Tensor {
  std::string name;
  std::vector<uint64_t> shape;
  const kernels::TypeInfo* info;
  std::string data;
};

std::vector<Tensor> ReadTensors(const Checkpoint& checkpoint) {
  std::ifstream file(checkpoint.files.at(0), std::ios::binary);
  std::vector<Tensor> tensors;
  for (const TensorInfo& tensor : checkpoint.tensors) {
    std::string data(tensor.bytes, '\0');
    file.seekg(static_cast<std::streamoff>(tensor.offset));
    file.read(data.data(), static_cast<std::streamsize>(data.size()));
    tensors.push_back({tensor.name, tensor.shape, tensor.info, data});
  }
  return tensors;
}

// Of [experts, rows, ...] and as much: [experts, 2 * rows, ...].
Tensor Fused(const Tensor& gate, const Tensor& up) {
  Tensor both = gate;
  both.name.replace(both.name.find("_gate_"), 6, "_gate_up_");
  both.shape[1] *= 2;
  both.data.clear();
  const size_t one = gate.data.size() / gate.shape[0];
  for (uint64_t e = 0; e < gate.shape[0]; ++e)
    both.data += gate.data.substr(e * one, one) + up.data.substr(e * one, one);
  return both;
}

// Fuses the experts of every layer, or of odd ones only; returns how many tensors it made.
int WriteFused(const std::string& from, const std::string& to, bool odd_layers_only) {
  const Checkpoint checkpoint = OpenCheckpoint(from);
  std::vector<Tensor> fused;
  int made = 0;
  std::vector<Tensor> tensors = ReadTensors(checkpoint);
  const auto named = [&](const std::string& name) {
    return std::find_if(tensors.begin(), tensors.end(), [&](const Tensor& t) { return t.name == name; });
  };
  for (const Tensor& tensor : tensors) {
    const bool left = odd_layers_only && (tensor.name[4] - '0') % 2 == 0;
    const bool gate = tensor.name.find(".ffn_gate_exps.") != std::string::npos;
    const bool up = tensor.name.find(".ffn_up_exps.") != std::string::npos;
    if (left || (!gate && !up)) {
      fused.push_back(tensor);
    } else if (gate) {
      std::string other = tensor.name;
      other.replace(other.find("_gate_"), 6, "_up_");
      fused.push_back(Fused(tensor, *named(other)));
      ++made;
    }
  }
  std::vector<GgufOutputTensor> out;
  for (const Tensor& tensor : fused) out.push_back({tensor.name, tensor.shape, tensor.info});
  const GgufLayout layout = LayOutGguf(CarryOverPairs(checkpoint, 0), out);
  NewFile file(to, layout.file_bytes);
  file.Write(layout.header.data(), layout.header.size());
  for (size_t i = 0; i < fused.size(); ++i) {
    file.PadTo(layout.tensors[i].offset);
    file.Write(fused[i].data.data(), fused[i].data.size());
  }
  file.PadTo(layout.file_bytes);
  file.Finish();
  return made;
}

// Logits of a prompt's last tokens and of one token behind it.
std::vector<float> FusedLogits(const std::string& model, int ranks, const char* table) {
  setenv("ONECOPY_KERNELS", table, 1);
  std::vector<float> all;
  WithModel({"", "", model.c_str()}, ranks, [&](exec::Engine& engine) {
    std::vector<int32_t> prompt(70);
    for (size_t i = 0; i < prompt.size(); ++i)
      prompt[i] = static_cast<int32_t>((11 * i * i + 5 * i) % engine.spec().vocab_size());
    auto logits = engine.Append(0, 0, prompt, 4);
    all.assign(logits.begin(), logits.end());
    logits = engine.Append(0, static_cast<uint32_t>(prompt.size()), std::vector<int32_t>{7});
    all.insert(all.end(), logits.begin(), logits.end());
    engine.Release(0);
  });
  unsetenv("ONECOPY_KERNELS");
  return all;
}

bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return !a.empty() && a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void Quantize(const std::string& from, const std::string& to, const char* type) {
  const cli::Command command = cli::QuantizeCommand();
  CLI::App app;
  command.add_options(&app);
  app.parse(std::vector<std::string>{type, "--type", to, "-o", from, "-m"});  // the last first
  test::ExpectNoErrors(test::RunRanks(1, [&](comm::Communicator& comm) {
    command.run(comm, cli::TakeSeat(numa::ReadTopology(), {}, comm.rank_on_host(), comm.ranks_on_host()));
  }));
}

class FusedExperts : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, FusedExperts,
                         ::testing::Values("qwen3_moe_Q8_0", "qwen3_moe_Q4_K_M", "deepseek_v3_Q4_K_M",
                                           "gpt_oss_gguf", "glm4_moe_gguf", "qwen3_5_moe_gguf",
                                           "llama4_gguf"),
                         [](const auto& info) { return info.param; });

TEST_P(FusedExperts, HaveTheBitsOfTwoTensors) {
  const std::string two = CaseOf(GetParam()).model();
  const TempFile one, mixed;
  ASSERT_GT(WriteFused(two, one.path(), false), 0);
  ASSERT_GT(WriteFused(two, mixed.path(), true), 0);
  for (const auto& entry : kernels::AllTables()) {
    if (!entry.supported()) continue;
    SCOPED_TRACE(entry.name);
    for (const int ranks : {1, 2, 3}) {
      const std::vector<float> want = FusedLogits(two, ranks, entry.name);
      EXPECT_TRUE(SameBits(FusedLogits(one.path(), ranks, entry.name), want)) << ranks << " ranks";
      EXPECT_TRUE(SameBits(FusedLogits(mixed.path(), ranks, entry.name), want))
          << ranks << " ranks, some layers";
    }
  }
}

TEST_P(FusedExperts, AreCountedAndCutAsTwoTensors) {
  const std::string two = CaseOf(GetParam()).model();
  const TempFile one;
  WriteFused(two, one.path(), false);
  const Checkpoint of_two = OpenCheckpoint(two), of_one = OpenCheckpoint(one.path());
  EXPECT_EQ(Summarize(of_one), Summarize(of_two));
  const proto::ModelSpec spec_of_two = BuildModelSpec(of_two), spec_of_one = BuildModelSpec(of_one);
  const kernels::KernelTable& table = kernels::AllTables().back().table();
  for (const int ranks : {1, 2, 3, 24}) {
    const auto want = shard::MakeShardPlan(spec_of_two, table, {.ranks = ranks, .shares = {}}),
               got = shard::MakeShardPlan(spec_of_one, table, {.ranks = ranks, .shares = {}});
    for (int rank = 0; rank < ranks; ++rank)
      EXPECT_EQ(got.totals(rank).DebugString(), want.totals(rank).DebugString()) << rank << " of " << ranks;
  }
}

TEST(FusedExpertsQuantised, HaveTheBitsOfTwoTensors) {
  const std::string two = CaseOf("qwen3_moe_Q8_0").model();
  const TempFile one, quantised_two, quantised_one;
  WriteFused(two, one.path(), false);
  Quantize(two, quantised_two.path(), "q4_0");
  Quantize(one.path(), quantised_one.path(), "q4_0");
  EXPECT_EQ(OpenCheckpoint(quantised_one.path()).Find("blk.0.ffn_gate_up_exps.weight")->type_name, "Q4_0");
  EXPECT_TRUE(
      SameBits(FusedLogits(quantised_one.path(), 2, "ref"), FusedLogits(quantised_two.path(), 2, "ref")));
}

}  // namespace
}  // namespace onecopy::parity
