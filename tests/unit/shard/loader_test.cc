// Loading real files over several ranks: every shard is what the file's blocks decode to, each byte is read once.

#include "runtime/shard/loader.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <mutex>

#include "kernels/registry.h"
#include "runtime/model/model_spec.h"
#include "runtime/shard/plan.h"
#include "tests/support/local_ranks.h"

namespace onecopy::shard {
namespace {

// Matrices of several megabytes, so that blocks, items and packing tasks are cut within them. Made once.
const std::string& WideModel() {
  static const std::string path = [] {
    const std::string file = ::testing::TempDir() + "/onecopy-wide-" + std::to_string(getpid()) + ".gguf";
    const std::string command = "python3 " ONECOPY_SOURCE_DIR "/tests/support/make_synthetic_moe.py " + file +
                                " --layers 1 --experts 2 --top-k 1 --inter 4096 --heads 16 --vocab 4096";
    EXPECT_EQ(std::system(command.c_str()), 0);
    return file;
  }();
  return path;
}

const std::string kModels[] = {ONECOPY_TEST_DATA "/goldens/gguf/qwen3_moe-Q4_K_M/model.gguf",
                               ONECOPY_TEST_DATA "/goldens/qwen3_moe",
                               ONECOPY_SOURCE_DIR "/models/tiny-moe-q8_0.gguf"};

std::vector<float> FileRow(const proto::ModelSpec& spec, int weight, uint32_t expert, uint64_t row) {
  const proto::Weight& w = spec.weights(weight);
  const auto& info = kernels::Info(static_cast<kernels::WeightType>(w.type()));
  const uint64_t row_bytes = kernels::RowBytes(info, w.cols());
  std::vector<uint8_t> bytes(row_bytes);
  std::ifstream file(spec.files(static_cast<int>(w.file())), std::ios::binary);
  file.seekg(static_cast<std::streamoff>(w.offset() + (expert * w.rows() + row) * row_bytes));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(row_bytes));
  std::vector<float> out(w.cols());
  info.decode(bytes.data(), out.data(), w.cols());
  return out;
}

// Some rows of every weight of the rank's shard against the file.
void ExpectShardIsTheFiles(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                           const WeightStore& store, int rank) {
  for (int w = 0; w < spec.weights_size(); ++w) {
    const proto::Weight& weight = spec.weights(w);
    const auto axis = plan.placements(w).axis();
    if (axis == proto::WeightPlacement::REPLICATED) {
      const std::vector<float> want = FileRow(spec, w, 0, 0);
      ASSERT_EQ(std::memcmp(store.VectorData(w), want.data(), want.size() * sizeof(float)), 0)
          << weight.name();
      continue;
    }
    for (uint32_t e = 0; e < std::max(1u, weight.n_experts()); ++e) {
      const kernels::PackedMatrix& m = store.Matrix(w, e);
      if (m.rows == 0) continue;
      const Range range = OwnedRange(spec, plan, w, e, rank);
      std::vector<float> got(m.cols);
      for (uint32_t r = 0; r < m.rows; r = r + 1 < m.rows ? std::min(m.rows - 1, r + 37) : m.rows) {
        kernels::UnpackRow(m, r, got.data());
        const bool by_cols = axis == proto::WeightPlacement::COLS;
        const std::vector<float> row = FileRow(spec, w, e, by_cols ? r : range.begin + r);
        const float* want = row.data() + (by_cols ? range.begin : 0);
        ASSERT_EQ(std::memcmp(got.data(), want, m.cols * sizeof(float)), 0)
            << weight.name() << " expert " << e << " row " << r << " rank " << rank;
      }
    }
  }
}

TEST(Loader, ShardsAreTheFilesBlocksForAnyRankCount) {
  std::vector<std::string> models(std::begin(kModels), std::end(kModels));
  models.push_back(WideModel());
  for (const std::string& path : models) {
    const proto::ModelSpec spec = BuildModelSpec(OpenCheckpoint(path));
    for (const auto& entry : kernels::AllTables()) {
      if (!entry.supported()) continue;
      for (int ranks : {1, 3, 8}) {
        SCOPED_TRACE(path + " " + entry.name + " " + std::to_string(ranks));
        const auto plan = MakeShardPlan(spec, entry.table(), {.ranks = ranks, .shares = {}});
        std::mutex mutex;
        uint64_t read = 0, held = 0;
        test::ExpectNoErrors(test::RunRanks(ranks, [&](comm::Communicator& comm) {
          numa::ArenaSource memory;
          const WeightStore store(spec, plan, entry.table(), comm.rank(), &memory);
          const LoadStats stats = LoadWeights(comm, spec, plan, store, comm.rank());
          const std::lock_guard lock(mutex);  // gtest's assertions
          read += stats.bytes_read;
          held += store.matrix_bytes();
          ExpectShardIsTheFiles(spec, plan, store, comm.rank());
        }));
        uint64_t files = 0;
        for (uint64_t bytes : spec.file_bytes()) files += bytes;
        EXPECT_LE(read, files);
        EXPECT_EQ(held, plan.weight_bytes());
      }
    }
  }
  std::filesystem::remove(WideModel());
}

TEST(Loader, AFileThatShrankIsNamedOnEveryRank) {
  const std::string copy = ::testing::TempDir() + "/shrunk.gguf";
  std::filesystem::copy_file(kModels[0], copy, std::filesystem::copy_options::overwrite_existing);
  const proto::ModelSpec spec = BuildModelSpec(OpenCheckpoint(copy));
  std::filesystem::resize_file(copy, spec.file_bytes(0) - 100000);
  std::string error;
  const auto* table = kernels::SelectTable("", &error);
  const auto plan = MakeShardPlan(spec, *table, {.ranks = 3, .shares = {}});
  const auto errors = test::RunRanks(3, [&](comm::Communicator& comm) {
    numa::ArenaSource memory;
    const WeightStore store(spec, plan, *table, comm.rank(), &memory);
    LoadWeights(comm, spec, plan, store, comm.rank());
  });
  for (const std::string& e : errors) EXPECT_NE(e.find("shrunk.gguf"), std::string::npos) << e;
  std::filesystem::remove(copy);
}

}  // namespace
}  // namespace onecopy::shard
