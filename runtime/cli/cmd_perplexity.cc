// perplexity: how well the model predicts a text, by either of the two usual conventions.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "runtime/base/error.h"
#include "runtime/base/file.h"
#include "runtime/base/progress.h"
#include "runtime/cli/command.h"
#include "runtime/cli/model_options.h"
#include "runtime/cli/model_session.h"
#include "runtime/cli/tokenizer_source.h"

namespace onecopy::cli {
namespace {

struct PerplexityOptions {
  ModelOptions model;
  std::string file;
  uint32_t window = 512;
  uint32_t stride = 0;
  bool json = false;
};

// Tokens [begin, end) run from an empty cache; those in [scored, end) count, each predicted from all before
// it in the window.
struct Window {
  size_t begin, end, scored;
};

// llama.cpp's: windows side by side, the second half of each scored, a last partial window left out.
std::vector<Window> SideBySide(size_t n_tokens, size_t size) {
  std::vector<Window> windows;
  for (size_t b = 0; b + size <= n_tokens; b += size) windows.push_back({b, b + size, b + size / 2 + 1});
  return windows;
}

// transformers': windows every `stride` tokens, every token scored once, with as much before it as its window
// has.
std::vector<Window> Sliding(size_t n_tokens, size_t size, size_t stride) {
  std::vector<Window> windows;
  size_t scored = 1;  // the first token has nothing before it
  for (size_t b = 0; scored < n_tokens; b += stride) {
    const size_t end = std::min(b + size, n_tokens);
    windows.push_back({b, end, std::max(scored, b + 1)});
    scored = end;
  }
  return windows;
}

double NegativeLogProbability(std::span<const float> logits, int32_t token) {
  const double max = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (float logit : logits) sum += std::exp(logit - max);
  return std::log(sum) + max - logits[token];
}

struct Score {
  double nll = 0;
  size_t tokens = 0;
};

Score ScoreWindows(exec::Engine& engine, const std::vector<int32_t>& tokens,
                   const std::vector<Window>& windows, std::optional<int32_t> first_token) {
  // Logits of 64 positions at once: with a vocabulary of 150,000 that is 40 MB.
  constexpr size_t kStep = 64;
  const size_t vocab = engine.spec().vocab_size();
  Progress bar("scoring");
  Score score;
  for (size_t w = 0; w < windows.size(); ++w) {
    const Window& window = windows[w];
    std::vector<int32_t> ids(tokens.begin() + window.begin, tokens.begin() + window.end);
    if (first_token) ids[0] = *first_token;
    for (size_t at = 0; at < ids.size(); at += kStep) {
      const size_t n = std::min(kStep, ids.size() - at);
      const bool wanted = window.begin + at + n >= window.scored;
      const auto logits = engine.Append(0, static_cast<uint32_t>(at), std::span(ids).subspan(at, n),
                                        wanted ? static_cast<uint32_t>(n) : 0);
      for (size_t i = 0; wanted && i < n; ++i) {
        const size_t predicted = at + i + 1;
        if (predicted >= ids.size() || window.begin + predicted < window.scored) continue;
        score.nll += NegativeLogProbability(logits.subspan(i * vocab, vocab), ids[predicted]);
        ++score.tokens;
      }
    }
    engine.Release(0);
    bar.Update(w + 1, windows.size());
  }
  return score;
}

}  // namespace

Command PerplexityCommand() {
  auto options = std::make_shared<PerplexityOptions>();
  Command command;
  command.name = "perplexity";
  command.summary = "Perplexity of a text";
  command.examples =
      "  onecopy perplexity -m model.gguf -f text.txt --context 512\n"
      "  onecopy perplexity -m model.gguf -f text.txt --context 512 --stride 256 --json\n";
  command.add_options = [options](CLI::App* app) {
    AddModelOption(app, &options->model.model);
    app->add_option("-f,--file", options->file, "text to score")->required();
    app->add_option("--context", options->window,
                    "tokens of a window; windows lie side by side and the second half of each is scored, as "
                    "llama.cpp's llama-perplexity does")
        ->check(CLI::Range(2u, 1u << 20));
    app->add_option(
        "--stride", options->stride,
        "slide the window by so many tokens and score every token once, as transformers' guide does");
    AddKvTypeOption(app, &options->model.kv_type);
    AddSumsOption(app, &options->model.quick_sums);
    app->add_flag("--json", options->json, "print JSON");
    app->add_option("--report", options->model.report, "write what this run measured of itself, as JSON");
  };
  command.run = [options](comm::Communicator& comm, const Seat& seat) {
    std::vector<int32_t> tokens;
    std::vector<Window> windows;
    std::optional<int32_t> bos;
    ModelSession session(
        comm, seat, options->model,
        [&](const Checkpoint& checkpoint, const proto::ModelSpec&, proto::EngineOptions* engine) {
          const text::Tokenizer tokenizer = MakeTokenizer(checkpoint);
          tokens =
              tokenizer.Encode(ReadTextFile(options->file), {.add_special = true, .parse_special = false});
          if (options->stride > options->window)
            Fail(ErrorCode::kUsage, "--stride {} is above --context {}", options->stride, options->window);
          windows = options->stride > 0 ? Sliding(tokens.size(), options->window, options->stride)
                                        : SideBySide(tokens.size(), options->window);
          if (windows.empty())
            Fail(ErrorCode::kUsage,
                 "{} has {} tokens; expected at least {} (one window), so use a longer text or a "
                 "smaller --context",
                 options->file, tokens.size(), options->stride > 0 ? 2 : options->window);
          // A model whose texts begin with BOS sees it at the start of each window, as in llama.cpp.
          if (options->stride == 0 && !tokens.empty() && tokens[0] == tokenizer.bos()) bos = tokens[0];
          engine->set_kv_tokens(options->window);
        });
    session.Run([&](exec::Engine& engine) {
      const Score score = ScoreWindows(engine, tokens, windows, bos);
      const double perplexity = std::exp(score.nll / static_cast<double>(score.tokens));
      if (options->json) {
        nlohmann::ordered_json json = {{"perplexity", perplexity},
                                       {"tokens", score.tokens},
                                       {"context", options->window},
                                       {"stride", options->stride},
                                       {"windows", windows.size()}};
        Print(json.dump(2) + "\n");
      } else {
        Print(fmt::format("perplexity {:.4f} over {} tokens\n", perplexity, score.tokens));
      }
    });
  };
  return command;
}

}  // namespace onecopy::cli
