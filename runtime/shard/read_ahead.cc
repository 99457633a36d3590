#include "runtime/shard/read_ahead.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <new>
#include <utility>

#include "runtime/base/current_error.h"
#include "runtime/numa/binding.h"

namespace onecopy::shard {
namespace {

constexpr char kReading[] = "reading the model's files";

}  // namespace

ReadAhead::ReadAhead(const ModelFiles& files, std::vector<const ReadBlock*> blocks,
                     std::vector<uint8_t*> buffers, const ReaderThreads& readers)
    : files_(files), blocks_(std::move(blocks)), buffers_(std::move(buffers)), left_(buffers_.size()) {
  // No more than have something to do.
  size_t n_chunks = 0;
  for (const ReadBlock* block : blocks_)
    if (block != nullptr && n_chunks < static_cast<size_t>(readers.threads))
      n_chunks += ChunksOf(*block).size();
  try {
    for (size_t t = 0; t < std::min<size_t>(n_chunks, readers.threads); ++t)
      threads_.emplace_back([this, cpus = readers.cpus] { Work(cpus); });
  } catch (...) {  // those that have been started are joined by the destructor
    Stop(CurrentError(kReading));
  }
}

ReadAhead::~ReadAhead() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  readable_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

// Waits for a chunk to read; false: there will be none.
bool ReadAhead::NextChunk(std::unique_lock<std::mutex>* lock, size_t* block, ReadChunk* chunk) {
  while (!stop_ && !error_ && open_ < blocks_.size()) {
    if (open_ >= released_ + buffers_.size()) {
      readable_.wait(*lock);
      continue;
    }
    if (!cut_) {
      chunks_ = blocks_[open_] == nullptr ? std::vector<ReadChunk>() : ChunksOf(*blocks_[open_]);
      std::reverse(chunks_.begin(), chunks_.end());
      left_[open_ % buffers_.size()] = chunks_.size();
      cut_ = true;
    }
    if (!chunks_.empty()) {
      *block = open_;
      *chunk = chunks_.back();
      chunks_.pop_back();
      return true;
    }
    ++open_;
    cut_ = false;
    read_.notify_all();
  }
  return false;
}

void ReadAhead::Work(const std::vector<int>& cpus) {
  const std::unique_ptr<uint8_t, void (*)(void*)> scratch(
      static_cast<uint8_t*>(std::aligned_alloc(FileReader::kAlign, ModelFiles::ScratchBytes())), std::free);
  size_t block;
  ReadChunk chunk;
  try {
    std::unique_lock lock(mutex_);
    if (!scratch) throw std::bad_alloc();
    if (!cpus.empty()) numa::LetThreadRunOn(cpus);
    while (NextChunk(&lock, &block, &chunk)) {
      lock.unlock();
      files_.Read(*blocks_[block], chunk, buffers_[block % buffers_.size()], scratch.get());
      lock.lock();
      if (--left_[block % buffers_.size()] == 0) read_.notify_all();
    }
  } catch (...) {  // nothing may leave a thread
    Stop(CurrentError(kReading));
  }
}

void ReadAhead::Stop(const Error& error) {
  {
    const std::lock_guard lock(mutex_);
    if (!error_) error_ = error;
  }
  read_.notify_all();
  readable_.notify_all();
}

void ReadAhead::Wait(size_t i) {
  if (threads_.empty()) return;
  std::unique_lock lock(mutex_);
  read_.wait(lock, [&] {
    const bool dealt = open_ > i || (open_ == i && cut_ && chunks_.empty());
    return error_ || (dealt && left_[i % buffers_.size()] == 0);
  });
}

void ReadAhead::Release(size_t n) {
  {
    const std::lock_guard lock(mutex_);
    released_ = std::max(released_, n);
  }
  readable_.notify_all();
}

std::optional<Error> ReadAhead::error() {
  const std::lock_guard lock(mutex_);
  return error_;
}

}  // namespace onecopy::shard
