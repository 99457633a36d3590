// The model's weight files, open for reading as one rank needs them: blocks of a read list, in chunks that several
// threads read at once. Nothing of the files stays in the page cache.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "proto/model.pb.h"
#include "runtime/base/file_reader.h"
#include "runtime/shard/read_list.h"

namespace onecopy::shard {

// What one thread reads at once: `runs` runs of `bytes` bytes, `stride` apart in the file, one behind the other from byte
// `at` of the block.
struct ReadChunk {
  uint32_t file;
  uint64_t offset;
  uint64_t bytes;
  uint32_t runs;
  uint64_t stride;
  uint64_t at;
};

// Large enough that a disk's bandwidth, not its latency, bounds a few threads; small enough for a core's second-level
// cache.
inline constexpr uint64_t kChunkBytes = 1 << 20;

// A block of one run is read straight into its buffer, where it then begins as far from a multiple of
// FileReader::kAlign as in the file; other blocks are put together at the start of theirs.
inline bool InPlace(const ReadBlock& block) {
  return block.pieces.size() == 1 && block.pieces[0].runs == 1;
}
inline uint8_t* BlockData(const ReadBlock& block, uint8_t* buffer) {
  return buffer + (InPlace(block) ? block.pieces[0].offset % FileReader::kAlign : 0);
}

std::vector<ReadChunk> ChunksOf(const ReadBlock& block);

class ModelFiles {
 public:
  // spec must outlive this.
  explicit ModelFiles(const proto::ModelSpec& spec) : spec_(spec) {}

  // Opens all; returns the path of the first that does not exist here, or an empty string. stamps: what the files were when
  // their headers were read, where that is known here; else null. Errors: kBadInput where one cannot be opened for another
  // reason, or is not as long as when its headers were read, or not that file any more.
  std::string Open(const std::vector<FileStamp>* stamps);
  // Of the files that are open, in order.
  std::vector<FileStamp> Stamps() const;
  // Errors: kBadInput naming a file that somebody has written to since it was opened.
  void RequireUnchanged() const;

  // One of ChunksOf(block), to its place in `buffer`: FileReader::BufferBytes(block.bytes), at a multiple of kAlign.
  // scratch: of ScratchBytes(), at a multiple of kAlign, this thread's own. Errors: as FileReader::Read.
  void Read(const ReadBlock& block, const ReadChunk& chunk, uint8_t* buffer, uint8_t* scratch) const;
  static constexpr uint64_t ScratchBytes() { return FileReader::BufferBytes(kChunkBytes); }

  // What other readers of this host have left in the page cache.
  void DropCache() const;

 private:
  const proto::ModelSpec& spec_;
  std::vector<std::unique_ptr<FileReader>> files_;
};

}  // namespace onecopy::shard
