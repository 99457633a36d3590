// The model's weight files, open for reading as one rank needs them. Not mmap: a file that shrinks would be a SIGBUS.
// Nothing of the files stays in the page cache. Reads may run on several threads at once.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "proto/model.pb.h"
#include "runtime/shard/read_list.h"

namespace onecopy::shard {

class ModelFiles {
 public:
  // spec must outlive this.
  explicit ModelFiles(const proto::ModelSpec& spec) : spec_(spec) {}
  ~ModelFiles();
  ModelFiles(const ModelFiles&) = delete;
  ModelFiles& operator=(const ModelFiles&) = delete;

  // Opens all; returns the path of the first that does not exist here, or an empty string. Errors: kBadInput where one
  // cannot be opened for another reason, or is not as long as when its headers were read.
  std::string Open();

  // The block's bytes to `to`. Errors: kBadInput.
  void Read(const ReadBlock& block, uint8_t* to) const;

  // What other readers of this host have left in the page cache.
  void DropCache() const;

 private:
  void ReadBytes(uint32_t file, uint64_t offset, uint64_t bytes, uint8_t* to) const;
  void ReadRuns(const FilePiece& piece, uint8_t* to) const;
  void Drop(uint32_t file, uint64_t offset, uint64_t bytes) const;

  const proto::ModelSpec& spec_;
  std::vector<int> fds_;
};

}  // namespace onecopy::shard
