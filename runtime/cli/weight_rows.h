// WeightRows: rows of a model's weights straight from its files, in order and in bounded memory, as blocks of the files' type;
// put together where the files hold them in several tensors. For one thread, which works with a team.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "proto/model.pb.h"
#include "runtime/exec/thread_team.h"
#include "runtime/shard/model_files.h"

namespace onecopy::cli {

class WeightRows {
 public:
  // spec: its files, of which `stamps` says what they were; it and the team outlive this. Errors: as shard::ModelFiles::Open.
  WeightRows(const proto::ModelSpec& spec, const std::vector<FileStamp>& stamps,
             const exec::ThreadTeam& team);

  // use(rows, n, row_bytes): all rows of the weight, some at a time, expert after expert, row after row; between them may be
  // gaps. Lines of the weight's tensors are rows (shard/source.h). Errors: kBadInput naming file and tensor.
  using Use = std::function<void(const uint8_t* rows, uint32_t n, uint64_t row_bytes)>;
  void Read(const proto::Weight& weight, const Use& use);
  // Errors: as shard::ModelFiles::RequireUnchanged.
  void RequireUnchanged() const { files_.RequireUnchanged(); }

 private:
  struct Free {
    void operator()(uint8_t* p) const;
  };
  using Buffer = std::unique_ptr<uint8_t, Free>;
  static Buffer Allocate(uint64_t bytes);
  const uint8_t* ReadBlock(const shard::ReadBlock& block);

  const proto::ModelSpec& spec_;
  const exec::ThreadTeam& team_;
  shard::ModelFiles files_;
  Buffer buffer_;
  uint64_t buffer_bytes_ = 0;
  std::vector<Buffer> scratch_;  // by thread
  std::vector<uint8_t> assembled_;
};

}  // namespace onecopy::cli
