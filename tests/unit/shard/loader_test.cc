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
#include "tests/support/kernel_table.h"
#include "tests/support/local_ranks.h"
#include "tests/support/shard_check.h"

namespace onecopy::shard {
namespace {

// Matrices of several megabytes, so that blocks, items and packing tasks are cut within them. Made once.
const std::string& WideModel() {
  static const std::string path = [] {
    std::string file = ::testing::TempDir() + "/onecopy-wide-" + std::to_string(getpid()) + ".gguf";
    const std::string command = "python3 " ONECOPY_SOURCE_DIR "/tests/support/make_synthetic_moe.py " + file +
                                " --layers 1 --experts 2 --top-k 1 --inter 4096 --heads 16 --vocab 4096";
    EXPECT_EQ(std::system(command.c_str()), 0);
    return file;
  }();
  return path;
}

const std::string kLoadedModels[] = {ONECOPY_TEST_DATA "/goldens/gguf/qwen3_moe-Q4_K_M/model.gguf",
                                     ONECOPY_TEST_DATA "/goldens/qwen3_moe",
                                     ONECOPY_SOURCE_DIR "/models/tiny-moe-q8_0.gguf"};

// Bytes of the weights in the files, without what lies between them.
uint64_t WeightBytes(const proto::ModelSpec& spec) {
  uint64_t bytes = 0;
  for (const proto::Weight& w : spec.weights()) {
    const kernels::TypeInfo& info = FileInfo(w);
    bytes += w.rows() * kernels::RowBytes(info, w.cols()) * std::max(1u, w.n_experts());
  }
  return bytes;
}

TEST(Loader, ShardsAreTheFilesBlocksForAnyRankCount) {
  std::vector<std::string> models(std::begin(kLoadedModels), std::end(kLoadedModels));
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
          EXPECT_EQ(test::ShardDiffers(spec, plan, store, comm.rank()), "");
        }));
        uint64_t files = 0;
        for (uint64_t bytes : spec.file_bytes()) files += bytes;
        EXPECT_LE(read, files);
        EXPECT_GE(read, WeightBytes(spec));
        EXPECT_EQ(held, plan.weight_bytes());
      }
    }
  }
  std::filesystem::remove(WideModel());
}

// Shards end inside super-blocks: every rank has the parts of the blocks that the whole row gives.
TEST(Loader, QuantisesWhileItLoadsAsIfTheFileHadTheType) {
  using W = kernels::WeightType;
  for (const W type : {W::kQ4_K, W::kQ8_0, W::kBF16}) {
    for (const std::string& path : {kLoadedModels[1], kLoadedModels[2]}) {
      proto::ModelSpec spec = BuildModelSpec(OpenCheckpoint(path));
      test::QuantiseAll(type, &spec);
      const kernels::KernelTable& table = test::AnyTable();
      for (int ranks : {1, 3}) {
        if (type == W::kQ4_K && ranks == 1) continue;  // searched for, which takes its time
        SCOPED_TRACE(path + " " + kernels::Info(type).name + " " + std::to_string(ranks));
        const auto plan = MakeShardPlan(spec, table, {.ranks = ranks, .shares = {}});
        std::mutex mutex;
        uint64_t held = 0;
        test::ExpectNoErrors(test::RunRanks(ranks, [&](comm::Communicator& comm) {
          numa::ArenaSource memory;
          const WeightStore store(spec, plan, table, comm.rank(), &memory);
          LoadWeights(comm, spec, plan, store, comm.rank());
          const std::lock_guard lock(mutex);  // gtest's assertions
          held += store.matrix_bytes();
          EXPECT_EQ(test::ShardDiffers(spec, plan, store, comm.rank()), "");
        }));
        EXPECT_EQ(held, plan.weight_bytes());
      }
    }
  }
}

TEST(Loader, AFileThatShrankIsNamedOnEveryRank) {
  const std::string copy = ::testing::TempDir() + "/shrunk.gguf";
  std::filesystem::copy_file(kLoadedModels[0], copy, std::filesystem::copy_options::overwrite_existing);
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

// The content is as it was: it is the change that tells.
TEST(Loader, AFileThatIsReplacedOrWrittenToIsNamedOnEveryRank) {
  namespace fs = std::filesystem;
  const std::string copy = ::testing::TempDir() + "/changed-" + std::to_string(getpid()) + ".gguf";
  enum class When { kBeforeItIsOpened, kWhileItIsOpened, kWhileItIsRead };
  for (const When when : {When::kBeforeItIsOpened, When::kWhileItIsOpened, When::kWhileItIsRead}) {
    fs::copy_file(kLoadedModels[2], copy, fs::copy_options::overwrite_existing);
    fs::copy_file(kLoadedModels[2], copy + ".new", fs::copy_options::overwrite_existing);
    const Checkpoint checkpoint = OpenCheckpoint(copy);
    const proto::ModelSpec spec = BuildModelSpec(checkpoint);
    std::string error;
    const auto* table = kernels::SelectTable("", &error);
    const auto plan = MakeShardPlan(spec, *table, {.ranks = 3, .shares = {}});
    if (when == When::kBeforeItIsOpened) fs::rename(copy + ".new", copy);
    const auto errors = test::RunRanks(3, [&](comm::Communicator& comm) {
      numa::ArenaSource memory;
      const WeightStore store(spec, plan, *table, comm.rank(), &memory);
      proto::ModelSpec mine = spec;
      // Rank 1 finds another file under the same name.
      if (when == When::kWhileItIsOpened && comm.rank() == 1) mine.set_files(0, copy + ".new");
      LoadWeights(comm, mine, plan, store, comm.rank(),
                  {.stamps = comm.rank() == 0 ? &checkpoint.file_stamps : nullptr,
                   .progress = [&](uint64_t, uint64_t) {
                     if (when == When::kWhileItIsRead)
                       std::ofstream(copy, std::ios::in | std::ios::binary) << "GGUF";
                   }});
    });
    for (const std::string& e : errors) {
      EXPECT_NE(e.find("changed-"), std::string::npos) << e;
      EXPECT_NE(e.find("replaced while"), std::string::npos) << e;
    }
  }
  fs::remove(copy);
  fs::remove(copy + ".new");
}

TEST(Loader, AFileThatIsGoneIsNamedOnEveryRankWithTheOptionThatHelps) {
  const std::string copy = ::testing::TempDir() + "/gone.gguf";
  std::filesystem::copy_file(kLoadedModels[0], copy, std::filesystem::copy_options::overwrite_existing);
  const proto::ModelSpec spec = BuildModelSpec(OpenCheckpoint(copy));
  std::filesystem::remove(copy);
  std::string error;
  const auto* table = kernels::SelectTable("", &error);
  const auto plan = MakeShardPlan(spec, *table, {.ranks = 2, .shares = {}});
  for (const bool distribute : {false, true}) {
    const auto errors = test::RunRanks(2, [&](comm::Communicator& comm) {
      numa::ArenaSource memory;
      const WeightStore store(spec, plan, *table, comm.rank(), &memory);
      LoadWeights(comm, spec, plan, store, comm.rank(), {.distribute = distribute});
    });
    for (const std::string& e : errors) {
      EXPECT_NE(e.find("gone.gguf"), std::string::npos) << e;
      EXPECT_EQ(e.find("--distribute") != std::string::npos, !distribute) << e;
    }
  }
}

}  // namespace
}  // namespace onecopy::shard
