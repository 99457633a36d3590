// onecopy quantize: a GGUF file of a model in another type, written tensor by tensor in bounded memory. Rank 0 works; the
// others only learn whether that worked.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kernels/quantize.h"
#include "runtime/base/check.h"
#include "runtime/base/file_reader.h"
#include "runtime/base/log.h"
#include "runtime/base/printable.h"
#include "runtime/base/progress.h"
#include "runtime/base/sizes.h"
#include "runtime/cli/command.h"
#include "runtime/cli/model_options.h"
#include "runtime/cli/quantize_recipe.h"
#include "runtime/exec/thread_team.h"
#include "runtime/model/gguf_writer.h"

namespace onecopy::cli {
namespace {

struct QuantizeOptions {
  std::string model, out, type;
};

// A thread takes so many elements at a time, and so many pieces are read, quantised and written before the next: 256 KiB of
// floats, and at most 64 MiB of the file. A multiple of every block.
constexpr uint64_t kPieceElements = 1 << 16;
constexpr uint64_t kBatchPieces = 256;

struct Free {
  void operator()(uint8_t* p) const { std::free(p); }
};

class Quantizer {
 public:
  Quantizer(const Checkpoint& checkpoint, int threads)
      : team_(threads), floats_(threads), buffer_(AllocateBuffer()) {
    for (auto& floats : floats_) floats.resize(kPieceElements);
    for (const std::string& file : checkpoint.files) {
      readers_.push_back(std::make_unique<FileReader>(file));
      if (!readers_.back()->Open()) Fail(ErrorCode::kBadInput, "{}: no such file", file);
    }
  }

  // Calls done(bytes of the source) now and then.
  template <typename Done>
  void Convert(const GgufOutputTensor& tensor, NewFile* out, const Done& done) {
    const TensorInfo& source = *tensor.source;
    uint64_t left = 1;
    for (const uint64_t dim : source.shape) left *= dim;
    for (uint64_t offset = source.offset; left > 0;) {
      const uint64_t n = std::min(left, kPieceElements * kBatchPieces);
      const uint64_t bytes = kernels::RowBytes(*source.info, n);
      const uint8_t* blocks = readers_[source.file]->Read(offset, bytes, buffer_.get());
      if (source.info == tensor.info) {
        out->Write(blocks, bytes);
      } else {
        converted_.resize(kernels::RowBytes(*tensor.info, n));
        ConvertBatch(tensor, blocks, n);
        out->Write(converted_.data(), converted_.size());
      }
      offset += bytes;
      left -= n;
      done(bytes);
    }
  }

 private:
  static uint8_t* AllocateBuffer() {
    void* buffer = std::aligned_alloc(FileReader::kAlign,
                                      FileReader::BufferBytes(kPieceElements * kBatchPieces * sizeof(float)));
    if (buffer == nullptr)
      Fail(ErrorCode::kNoMemory, "quantize needs 64 MiB of memory for its buffer, found less");
    return static_cast<uint8_t*>(buffer);
  }

  void ConvertBatch(const GgufOutputTensor& tensor, const uint8_t* blocks, uint64_t n) {
    const kernels::TypeInfo &from = *tensor.source->info, &to = *tensor.info;
    const kernels::QuantizeFn quantize = kernels::FindQuantizer(to.type);
    ONECOPY_CHECK(quantize != nullptr && from.decode != nullptr);
    std::atomic<bool> finite = true;
    team_.For(DivUp(n, kPieceElements), [&](size_t piece, int thread) {
      const uint64_t begin = piece * kPieceElements, size = std::min(kPieceElements, n - begin);
      float* x = floats_[thread].data();
      from.decode(blocks + kernels::RowBytes(from, begin), x, size);
      for (uint64_t i = 0; i < size; ++i) {
        if (!std::isfinite(x[i])) finite = false;
      }
      if (finite) quantize(x, converted_.data() + kernels::RowBytes(to, begin), size);
    });
    if (!finite)
      Fail(ErrorCode::kBadInput,
           "tensor \"{}\": expected finite weights, found infinity or not a number; the file is damaged",
           Printable(tensor.source->name));
  }

  exec::ThreadTeam team_;
  std::vector<std::vector<float>> floats_;  // by thread
  std::unique_ptr<uint8_t, Free> buffer_;
  std::vector<uint8_t> converted_;
  std::vector<std::unique_ptr<FileReader>> readers_;
};

// Before anything is written: the model must stay whole.
void RefuseOwnFiles(const Checkpoint& checkpoint, const std::string& out) {
  for (const std::string& file : checkpoint.files) {
    std::error_code error;
    if (std::filesystem::equivalent(file, out, error))
      Fail(ErrorCode::kUsage, "-o: expected another file than the model's, found {}", out);
  }
}

void Quantize(const QuantizeOptions& options, int threads) {
  const QuantizeRecipe& recipe = FindQuantizeRecipe(options.type, "--type");
  const Checkpoint checkpoint = OpenCheckpoint(ResolveModelPath(options.model));
  if (checkpoint.format != CheckpointFormat::kGguf) {
    Fail(ErrorCode::kBadInput,
         "{}: expected a GGUF file, found a Hugging Face directory: convert it to GGUF (F16, BF16 or F32) "
         "first",
         checkpoint.path);
  }
  RefuseOwnFiles(checkpoint, options.out);
  const std::vector<const kernels::TypeInfo*> types = QuantizedTypes(checkpoint, recipe);
  std::vector<GgufOutputTensor> tensors;
  uint64_t source_bytes = 0, done = 0;
  for (size_t i = 0; i < types.size(); ++i) {
    tensors.push_back({&checkpoint.tensors[i], types[i]});
    source_bytes += checkpoint.tensors[i].bytes;
  }
  const GgufLayout layout = LayOutGguf(checkpoint, std::move(tensors), recipe.file_type);
  Quantizer quantizer(checkpoint, threads);
  NewFile file(options.out, layout.file_bytes);
  file.Write(layout.header.data(), layout.header.size());
  Progress bar("quantising");
  for (const GgufOutputTensor& tensor : layout.tensors) {
    file.PadTo(tensor.offset);
    quantizer.Convert(tensor, &file, [&](uint64_t bytes) { bar.Update(done += bytes, source_bytes); });
  }
  file.PadTo(layout.file_bytes);
  file.Finish();
  bar.Finish();
  log::info("{}: {}, of {}", options.out, FormatBytes(layout.file_bytes), FormatBytes(source_bytes));
}

}  // namespace

Command QuantizeCommand() {
  auto options = std::make_shared<QuantizeOptions>();
  Command command;
  command.name = "quantize";
  command.summary = "write a model as a GGUF file of another type";
  command.examples =
      "onecopy quantize -m model-f16.gguf -o model-q4_k_m.gguf --type q4_k_m\n"
      "onecopy quantize -m model-00001-of-00004.gguf -o model-q8_0.gguf --type q8_0";
  command.add_options = [options](CLI::App* app) {
    AddModelOption(app, &options->model);
    app->add_option("-o,--output", options->out, "the file to write")->required();
    app->add_option("--type", options->type, "one of " + QuantizeRecipeNames())->required();
  };
  command.run = [options](comm::Communicator& comm, const Seat& seat) {
    OnFirstRank(comm, "quantize", [&] { Quantize(*options, seat.placement.threads); });
  };
  return command;
}

}  // namespace onecopy::cli
