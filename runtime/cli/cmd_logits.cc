// logits: the model's raw output for given tokens, as a NumPy file, to hold against another implementation.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/base/file.h"
#include "runtime/cli/command.h"
#include "runtime/cli/model_options.h"
#include "runtime/cli/model_session.h"
#include "runtime/report/run_report.h"

namespace onecopy::cli {
namespace {

struct LogitsOptions {
  ModelOptions model;
  std::vector<int32_t> tokens;
  uint32_t last = 0;
  std::string output;
};

// NumPy format 1.0 (numpy.lib.format): magic, header padded to 64 bytes, rows of little-endian f32.
std::string Npy(std::span<const float> values, size_t rows) {
  std::string header = fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows,
                                   rows == 0 ? 0 : values.size() / rows);
  while ((header.size() + 11) % 64 != 0) header += ' ';
  header += '\n';
  std::string out("\x93NUMPY\x01\x00", 8);
  out += static_cast<char>(header.size() & 0xff);
  out += static_cast<char>(header.size() >> 8);
  out += header;
  out.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  return out;
}

}  // namespace

Command LogitsCommand() {
  auto options = std::make_shared<LogitsOptions>();
  Command command;
  command.name = "logits";
  command.summary = "Logits of given tokens as a NumPy file, f32 [K, vocab]";
  command.examples = "  onecopy logits -m model.gguf --tokens 9707,11,1879 --last 1 -o logits.npy\n";
  command.add_options = [options](CLI::App* app) {
    AddModelOptions(app, &options->model);
    app->add_option("--tokens", options->tokens, "token ids, separated by commas")
        ->delimiter(',')
        ->required();
    app->add_option("--last", options->last, "of the last K tokens only; default: of all")
        ->check(CLI::PositiveNumber);
    app->add_option("-o,--output", options->output, "file to write")->required();
  };
  command.run = [options](comm::Communicator& comm, const Seat& seat) {
    ModelSession session(comm, seat, options->model,
                         [&](const Checkpoint&, const proto::ModelSpec&, proto::EngineOptions* e) {
                           e->set_kv_tokens(options->tokens.size());
                         });
    session.Run([&](exec::Engine& engine) {
      const auto n = static_cast<uint32_t>(options->tokens.size());
      const uint32_t rows = options->last == 0 ? n : std::min(options->last, n);
      const auto logits = engine.Append(0, 0, options->tokens, rows);
      WriteFile(options->output, Npy(logits, rows));
    });
  };
  return command;
}

}  // namespace onecopy::cli
