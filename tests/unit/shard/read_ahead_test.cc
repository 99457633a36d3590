// Blocks of every kind through a small ring of buffers: each is there when it is waited for, however many threads read.

#include "runtime/shard/read_ahead.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

namespace onecopy::shard {
namespace {

constexpr uint64_t kFileBytes = 9'000'001;

class ReadAheadTest : public ::testing::Test {
 protected:
  ReadAheadTest() {
    std::mt19937 random(1);
    for (int f = 0; f < 2; ++f) {
      std::string& content = content_.emplace_back(kFileBytes, '\0');
      for (char& c : content) c = static_cast<char>(random());
      const std::string path =
          ::testing::TempDir() + "/read-ahead-" + std::to_string(getpid()) + "-" + std::to_string(f);
      std::ofstream(path, std::ios::binary) << content;
      spec_.add_files(path);
      spec_.add_file_bytes(kFileBytes);
    }
    files_ = std::make_unique<ModelFiles>(spec_);
    EXPECT_EQ(files_->Open(nullptr), "");
  }
  ~ReadAheadTest() override {
    for (const std::string& path : spec_.files()) std::filesystem::remove(path);
  }

  static ReadBlock Block(std::vector<FilePiece> pieces) {
    ReadBlock block;
    for (const FilePiece& piece : pieces) block.bytes += piece.bytes * piece.runs;
    block.pieces = std::move(pieces);
    return block;
  }

  // What a block's bytes are, run by run.
  std::string Expected(const ReadBlock& block) const {
    std::string bytes;
    for (const FilePiece& piece : block.pieces)
      for (uint64_t run = 0; run < piece.runs; ++run)
        bytes += content_[piece.file].substr(piece.offset + run * piece.stride, piece.bytes);
    return bytes;
  }

  static std::vector<uint8_t*> Buffers(size_t n, uint64_t block_bytes,
                                       std::vector<std::unique_ptr<uint8_t, void (*)(void*)>>* owners) {
    std::vector<uint8_t*> buffers;
    for (size_t b = 0; b < n; ++b) {
      owners->emplace_back(
          static_cast<uint8_t*>(std::aligned_alloc(FileReader::kAlign, FileReader::BufferBytes(block_bytes))),
          std::free);
      buffers.push_back(owners->back().get());
    }
    return buffers;
  }

  std::vector<std::string> content_;
  proto::ModelSpec spec_;
  std::unique_ptr<ModelFiles> files_;
  std::vector<std::unique_ptr<uint8_t, void (*)(void*)>> owners_;
};

TEST_F(ReadAheadTest, BringsEveryBlockInOrder) {
  std::vector<ReadBlock> blocks;
  for (uint64_t at = 5; at + 3'000'000 < kFileBytes; at += 1'234'567)
    blocks.push_back(Block({{0, at, 2'900'003}}));
  blocks.push_back(Block({{1, 1, 1}}));
  blocks.push_back(Block({{1, kFileBytes - 4097, 4097}}));                     // to the end of the file
  blocks.push_back(Block({{0, 4096, 8192}, {1, 777, 1'500'000}, {0, 5, 3}}));  // from several files
  blocks.push_back(Block({{0, 3, 100, 5000, 333}}));                           // short runs, short gaps
  blocks.push_back(Block({{1, 99, 20'000, 60, 120'001}}));                     // long gaps
  blocks.push_back(Block({{1, 12, 1'100'000, 3, 2'200'000}, {0, 8, 216, 64, 432}}));
  std::vector<const ReadBlock*> list;
  for (const ReadBlock& block : blocks) {
    list.push_back(&block);
    list.push_back(nullptr);
  }
  for (const int threads : {1, 4}) {
    for (const size_t buffers : {1, 3}) {
      SCOPED_TRACE(std::to_string(threads) + " threads, " + std::to_string(buffers) + " buffers");
      const auto to = Buffers(buffers, 4'000'000, &owners_);
      ReadAhead reads(*files_, list, to, {threads, {}});
      for (size_t i = 0; i < list.size(); ++i) {
        reads.Wait(i);
        ASSERT_FALSE(reads.error()) << reads.error()->what();
        if (list[i] != nullptr) {
          const std::string want = Expected(*list[i]);
          EXPECT_EQ(std::memcmp(BlockData(*list[i], to[i % buffers]), want.data(), want.size()), 0) << i;
        }
        reads.Release(i + 1);
      }
    }
  }
}

TEST_F(ReadAheadTest, ReadsNoFurtherThanItsBuffers) {
  const ReadBlock one = Block({{0, 0, 4096}}), two = Block({{0, 8192, 4096}});
  const auto to = Buffers(1, 4096, &owners_);
  ReadAhead reads(*files_, {&one, &two}, to, {2, {}});
  reads.Wait(0);
  usleep(50'000);  // time to do it wrong
  EXPECT_EQ(std::memcmp(to[0], content_[0].data(), 4096), 0);
  reads.Release(1);
  reads.Wait(1);
  EXPECT_EQ(std::memcmp(to[0], content_[0].data() + 8192, 4096), 0);
}

TEST_F(ReadAheadTest, AFileThatBecomesShorterIsAnErrorAndNoWaitHangs) {
  std::filesystem::resize_file(spec_.files(0), 2'000'000);
  std::vector<ReadBlock> blocks;
  for (uint64_t at = 0; at < 8; ++at) blocks.push_back(Block({{0, at * 1'000'000, 1'000'000}}));
  std::vector<const ReadBlock*> list;
  for (const ReadBlock& block : blocks) list.push_back(&block);
  const auto to = Buffers(2, 1'000'000, &owners_);
  ReadAhead reads(*files_, list, to, {3, {}});
  for (size_t i = 0; i < list.size(); ++i) {
    reads.Wait(i);
    reads.Release(i + 1);
  }
  ASSERT_TRUE(reads.error());
  EXPECT_EQ(reads.error()->code(), ErrorCode::kBadInput);
  // Which of the reads past the end fails first is up to the threads.
  const std::string what = reads.error()->what(), place = spec_.files(0) + " at byte ";
  ASSERT_NE(what.find(place), std::string::npos) << what;
  EXPECT_GE(std::stoull(what.substr(what.find(place) + place.size())), 2'000'000u) << what;
}

TEST_F(ReadAheadTest, EndsWithoutBeingUsedUp) {
  const ReadBlock block = Block({{0, 0, 4'000'000}});
  const auto to = Buffers(2, 4'000'000, &owners_);
  for (int i = 0; i < 20; ++i) const ReadAhead reads(*files_, {&block, &block, &block}, to, {3, {}});
}

}  // namespace
}  // namespace onecopy::shard
