// ReadAhead: threads that read a list of blocks into a ring of buffers, several chunks at once, in the order of the list,
// while others use up what is there. Made, used and destroyed by one thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/shard/model_files.h"

namespace onecopy::shard {

struct ReaderThreads {
  int threads = 1;
  // CPUs that they may run on: the rank's, while the thread that makes them may be pinned to one. Empty: as that thread.
  std::vector<int> cpus;
};

class ReadAhead {
 public:
  // Reads blocks[i] (null: nothing) to buffers[i % buffers.size()]; the first buffers.size() of them at once. The blocks
  // outlive this.
  ReadAhead(const ModelFiles& files, std::vector<const ReadBlock*> blocks, std::vector<uint8_t*> buffers,
            const ReaderThreads& readers);
  ~ReadAhead();
  ReadAhead(const ReadAhead&) = delete;
  ReadAhead& operator=(const ReadAhead&) = delete;

  // Returns when block i is in its buffer, or a read has failed: error() tells, and what is in the buffers is not said.
  void Wait(size_t i);
  // Blocks before n are used up: their buffers may be read into.
  void Release(size_t n);
  std::optional<Error> error();

 private:
  void Work(const std::vector<int>& cpus);
  void Stop(const Error& error);
  bool NextChunk(std::unique_lock<std::mutex>* lock, size_t* block, ReadChunk* chunk);

  const ModelFiles& files_;
  const std::vector<const ReadBlock*> blocks_;
  const std::vector<uint8_t*> buffers_;
  std::mutex mutex_;
  std::condition_variable readable_, read_;
  // All that follows is guarded by mutex_.
  size_t open_ = 0;                // the block whose chunks are being dealt
  std::vector<ReadChunk> chunks_;  // its chunks that are not dealt yet, the last one first
  bool cut_ = false;               // whether chunks_ have been made for it
  std::vector<size_t> left_;       // by buffer: chunks of its block that are not read
  size_t released_ = 0;
  bool stop_ = false;
  std::optional<Error> error_;
  std::vector<std::thread> threads_;
};

}  // namespace onecopy::shard
