#include "runtime/shard/model_files.h"

#include <algorithm>
#include <cstring>

#include "runtime/base/error.h"

namespace onecopy::shard {
namespace {

// Cut at multiples of kChunkBytes in the file, so that what chunks of one run read to multiples of kAlign never overlaps.
void AddRun(uint32_t file, uint64_t offset, uint64_t bytes, uint64_t at, std::vector<ReadChunk>* chunks) {
  for (const uint64_t end = offset + bytes; offset < end;) {
    const uint64_t next = std::min(end, (offset / kChunkBytes + 1) * kChunkBytes);
    chunks->push_back({file, offset, next - offset, 1, 0, at});
    at += next - offset;
    offset = next;
  }
}

// Runs with short gaps are read with them, as many as a chunk holds; otherwise a chunk has as many bytes of runs.
uint32_t RunsInChunk(const FilePiece& piece) {
  const bool with_gaps = piece.stride - piece.bytes < kMinSkippedRowBytes;
  return static_cast<uint32_t>(std::max<uint64_t>(1, kChunkBytes / (with_gaps ? piece.stride : piece.bytes)));
}

[[noreturn]] void FailAsChanged(const std::string& path) {
  Fail(ErrorCode::kBadInput,
       "{} was written to or replaced while it was read; start again when it is complete", path);
}

}  // namespace

std::vector<ReadChunk> ChunksOf(const ReadBlock& block) {
  std::vector<ReadChunk> chunks;
  uint64_t at = 0;
  for (const FilePiece& piece : block.pieces) {
    const uint32_t runs_at_once = RunsInChunk(piece);
    for (uint32_t run = 0; run < piece.runs; run += runs_at_once) {
      const uint32_t n = std::min(runs_at_once, piece.runs - run);
      const uint64_t offset = piece.offset + run * piece.stride;
      if (n > 1)
        chunks.push_back({piece.file, offset, piece.bytes, n, piece.stride, at});
      else
        AddRun(piece.file, offset, piece.bytes, at, &chunks);
      at += n * piece.bytes;
    }
  }
  return chunks;
}

std::string ModelFiles::Open(const std::vector<FileStamp>* stamps) {
  for (int f = 0; f < spec_.files_size(); ++f) {
    const std::string& path = spec_.files(f);
    files_.push_back(std::make_unique<FileReader>(path));
    if (!files_.back()->Open()) return path;
    if (files_.back()->bytes() != spec_.file_bytes(f))
      Fail(ErrorCode::kBadInput,
           "{} has {} bytes, but had {} when rank 0 read its headers; it must be the same on every host, and "
           "not change while it is loaded",
           path, files_.back()->bytes(), spec_.file_bytes(f));
    if (stamps != nullptr && files_.back()->stamp() != stamps->at(f)) FailAsChanged(path);
  }
  return "";
}

std::vector<FileStamp> ModelFiles::Stamps() const {
  std::vector<FileStamp> stamps;
  for (const auto& file : files_) stamps.push_back(file->stamp());
  return stamps;
}

void ModelFiles::RequireUnchanged() const {
  for (const auto& file : files_)
    if (!file->Unchanged()) FailAsChanged(file->path());
}

void ModelFiles::Read(const ReadBlock& block, const ReadChunk& chunk, uint8_t* buffer,
                      uint8_t* scratch) const {
  const FileReader& file = *files_[chunk.file];
  uint8_t* to = BlockData(block, buffer) + chunk.at;
  if (InPlace(block)) {
    file.Read(chunk.offset, chunk.bytes, to - chunk.offset % FileReader::kAlign);
    return;
  }
  const bool with_gaps = chunk.runs > 1 && chunk.stride - chunk.bytes < kMinSkippedRowBytes;
  const uint8_t* runs = nullptr;
  if (with_gaps) runs = file.Read(chunk.offset, (chunk.runs - 1) * chunk.stride + chunk.bytes, scratch);
  for (uint64_t run = 0; run < chunk.runs; ++run) {
    const uint8_t* from = with_gaps ? runs + run * chunk.stride
                                    : file.Read(chunk.offset + run * chunk.stride, chunk.bytes, scratch);
    std::memcpy(to + run * chunk.bytes, from, chunk.bytes);
  }
}

void ModelFiles::DropCache() const {
  for (const auto& file : files_) file->DropCache();
}

}  // namespace onecopy::shard
