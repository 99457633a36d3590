// onecopy quantize: a GGUF file of a model in another type, from a GGUF file or a Hugging Face directory, written tensor by
// tensor in bounded memory (a matrix of q or k at most). Rank 0 works; the others only learn whether that worked.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "kernels/quantize.h"
#include "runtime/base/check.h"
#include "runtime/base/log.h"
#include "runtime/base/new_file.h"
#include "runtime/base/printable.h"
#include "runtime/base/progress.h"
#include "runtime/base/sizes.h"
#include "runtime/cli/command.h"
#include "runtime/cli/model_options.h"
#include "runtime/cli/quantize_plan.h"
#include "runtime/cli/weight_rows.h"
#include "runtime/exec/thread_team.h"
#include "runtime/shard/source.h"

namespace onecopy::cli {
namespace {

struct QuantizeOptions {
  std::string model, out, type;
};

class Quantizer {
 public:
  Quantizer(const proto::ModelSpec& files, const std::vector<FileStamp>& stamps, int threads)
      : team_(threads), rows_(files, stamps, team_), floats_(threads) {}

  void RequireUnchanged() const { rows_.RequireUnchanged(); }

  // Calls done(bytes of the source) now and then.
  template <typename Done>
  void Convert(const QuantizedTensor& tensor, NewFile* out, const Done& done) {
    for (const proto::Weight& weight : tensor.weights) {
      whole_.clear();
      rows_.Read(weight, [&](const uint8_t* rows, uint32_t n, uint64_t row_bytes) {
        const kernels::TypeInfo& to = kernels::Info(static_cast<kernels::WeightType>(weight.type()));
        const kernels::TypeInfo& from = shard::FileInfo(weight);
        const uint8_t* blocks = rows;
        if (&from != &to) {
          converted_.resize(n * kernels::RowBytes(to, weight.cols()));
          ConvertRows(weight, rows, n, row_bytes);
          blocks = converted_.data();
        }
        const uint64_t bytes = n * kernels::RowBytes(to, weight.cols());
        if (tensor.interleaved_rows == 0)
          out->Write(blocks, bytes);
        else
          whole_.insert(whole_.end(), blocks, blocks + bytes);
        done(n * row_bytes);
      });
      if (tensor.interleaved_rows > 0) WriteInterleaved(weight, tensor.interleaved_rows, out);
    }
  }

 private:
  // A thread takes so many elements at a time.
  static constexpr uint64_t kPieceElements = 1 << 16;

  // Rows to converted_.
  void ConvertRows(const proto::Weight& weight, const uint8_t* rows, uint32_t n, uint64_t row_bytes) {
    const kernels::TypeInfo& from = shard::FileInfo(weight);
    const kernels::TypeInfo& to = kernels::Info(static_cast<kernels::WeightType>(weight.type()));
    const kernels::QuantizeFn quantize = kernels::FindQuantizer(to.type);
    ONECOPY_CHECK(quantize != nullptr && from.decode != nullptr);
    const uint64_t cols = weight.cols(), piece_rows = std::max<uint64_t>(1, kPieceElements / cols);
    for (std::vector<float>& x : floats_) x.resize(cols);  // not in the region, out of which nothing may come
    std::atomic<bool> finite = true;
    team_.For(DivUp(n, piece_rows), [&](size_t piece, int thread) {
      std::vector<float>& x = floats_[thread];
      for (uint64_t r = piece * piece_rows; r < std::min<uint64_t>(n, (piece + 1) * piece_rows); ++r) {
        from.decode(rows + r * row_bytes, x.data(), cols);
        if (!std::all_of(x.begin(), x.end(), [](float value) { return std::isfinite(value); })) {
          finite = false;
          return;
        }
        quantize(x.data(), converted_.data() + r * kernels::RowBytes(to, cols), cols);
      }
    });
    if (!finite)
      Fail(ErrorCode::kBadInput,
           "tensor \"{}\": expected finite weights, found infinity or not a number; the file is damaged",
           Printable(weight.name()));
  }

  // whole_ is the weight, or the elements of a vector, of which each is a row.
  void WriteInterleaved(const proto::Weight& weight, uint32_t run, NewFile* out) {
    const uint64_t rows = weight.rows() == 1 ? weight.cols() : weight.rows();
    const uint64_t row_bytes = whole_.size() / rows;
    converted_.resize(whole_.size());
    for (uint64_t r = 0; r < rows; ++r) {
      const uint64_t in_run = r % run, from = r - in_run + in_run % 2 * (run / 2) + in_run / 2;
      std::memcpy(converted_.data() + r * row_bytes, whole_.data() + from * row_bytes, row_bytes);
    }
    out->Write(converted_.data(), converted_.size());
  }

  exec::ThreadTeam team_;
  WeightRows rows_;
  std::vector<std::vector<float>> floats_;  // by thread
  std::vector<uint8_t> converted_, whole_;
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
  RefuseOwnFiles(checkpoint, options.out);
  const QuantizePlan plan = PlanQuantize(checkpoint, recipe, options.out);
  const GgufLayout& layout = plan.layout;
  uint64_t source_bytes = 0, done = 0;
  for (const TensorInfo& tensor : checkpoint.tensors) source_bytes += tensor.bytes;
  Quantizer quantizer(plan.files, checkpoint.file_stamps, threads);
  NewFile file(options.out, layout.file_bytes);
  file.Write(layout.header.data(), layout.header.size());
  Progress bar("quantising");
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    file.PadTo(layout.tensors[i].offset);
    quantizer.Convert(plan.tensors[i], &file,
                      [&](uint64_t bytes) { bar.Update(done += bytes, std::max(done, source_bytes)); });
  }
  file.PadTo(layout.file_bytes);
  quantizer.RequireUnchanged();
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
      "  onecopy quantize -m model-f16.gguf -o model-q4_k_m.gguf --type q4_k_m\n"
      "  onecopy quantize -m model-00001-of-00004.gguf -o model-q8_0.gguf --type q8_0\n"
      "  onecopy quantize -m model_directory -o model-bf16.gguf --type bf16\n";
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
