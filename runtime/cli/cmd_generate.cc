// generate: continue a text.

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>

#include "runtime/base/error.h"
#include "runtime/base/log.h"
#include "runtime/cli/command.h"
#include "runtime/cli/model_options.h"
#include "runtime/cli/model_session.h"
#include "runtime/cli/sampling_options.h"
#include "runtime/cli/tokenizer_source.h"
#include "runtime/report/run_report.h"
#include "runtime/text/detokenizer.h"
#include "runtime/text/sampler.h"
#include "runtime/text/stop_strings.h"

namespace onecopy::cli {
namespace {

using Clock = std::chrono::steady_clock;
double Since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr char kDefaultPrompt[] = "Once upon a time";

struct Options {
  ModelOptions model;
  SamplingOptions sampling;
  std::optional<std::string> prompt;
  std::vector<int32_t> tokens;
  uint32_t n = 128;
  bool ignore_eos = false, json = false;
  std::vector<std::string> stops;
};

// What rank 0 prepares before the model is loaded.
struct Input {
  std::optional<text::Tokenizer> tokenizer;  // none where the model has none and tokens were given
  std::vector<int32_t> prompt;
  text::SamplerOptions sampler;
};

struct Result {
  std::vector<int32_t> tokens;
  std::string text;
  const char* finish = "length";
  double prompt_seconds = 0, decode_seconds = 0;
};

Input Prepare(const Options& options, const Checkpoint& checkpoint, const proto::ModelSpec& spec) {
  Input input;
  try {
    input.tokenizer = MakeTokenizer(checkpoint);
  } catch (const Error&) {
    // Token ids need no tokenizer; then there is no text in the result.
    if (options.tokens.empty()) throw;
    log::warn("this model's tokenizer is not supported: only token ids are given");
  }
  input.prompt = options.tokens;
  if (input.prompt.empty())
    input.prompt = input.tokenizer->Encode(options.prompt.value_or(kDefaultPrompt), {});
  if (input.prompt.empty())
    Fail(ErrorCode::kUsage,
         "the prompt is empty and this model does not begin a text by itself; give one with -p");
  for (size_t i = 0; i < input.prompt.size(); ++i)
    if (input.prompt[i] < 0 || static_cast<uint32_t>(input.prompt[i]) >= spec.vocab_size())
      Fail(ErrorCode::kUsage,
           "token id {} (number {} of the prompt) is outside the model's vocabulary, 0 … {}", input.prompt[i],
           i, spec.vocab_size() - 1);
  input.sampler = ResolveSampling(options.sampling, checkpoint);
  // The options are checked now rather than after minutes of loading.
  text::Sampler(input.sampler, static_cast<int32_t>(spec.vocab_size()));
  text::StopMatcher check(options.stops);
  return input;
}

class Generation {
 public:
  Generation(const Options& options, const Input& input, exec::Engine& engine)
      : options_(options),
        input_(input),
        engine_(engine),
        sampler_(input.sampler, static_cast<int32_t>(engine.spec().vocab_size())),
        stops_(options.stops) {
    if (input.tokenizer) detokenizer_.emplace(*input.tokenizer, text::DetokenizerOptions{});
  }

  Result Run() {
    if (!options_.json && options_.tokens.empty()) Show(options_.prompt.value_or(kDefaultPrompt));
    std::vector<int32_t> history = input_.prompt;
    const auto start = Clock::now();
    std::span<const float> logits = engine_.Append(0, 0, input_.prompt);
    result_.prompt_seconds = Since(start);
    const auto decode_start = Clock::now();
    while (result_.tokens.size() < options_.n) {
      const text::SampleResult sample = sampler_.Sample(logits, history);
      if (sample.status != text::SampleStatus::kOk)
        Fail(ErrorCode::kBadInput,
             "no token can be chosen after {} tokens: {}; the model's weights may be damaged", history.size(),
             text::Describe(sample.status));
      if (!Accept(sample.token)) break;
      history.push_back(sample.token);
      if (result_.tokens.size() == options_.n) break;
      logits = engine_.Append(0, static_cast<uint32_t>(history.size() - 1), std::span(history).last(1));
    }
    result_.decode_seconds = Since(decode_start);
    if (detokenizer_ && !stops_.stopped()) Emit(stops_.Push(detokenizer_->Flush()));
    Emit(stops_.Flush());
    if (!options_.json) Show("\n");
    return std::move(result_);
  }

 private:
  // False where the text ends here.
  bool Accept(int32_t token) {
    if (!options_.ignore_eos && input_.tokenizer && input_.tokenizer->IsEndOfGeneration(token)) {
      result_.finish = "stop";
      return false;
    }
    result_.tokens.push_back(token);
    if (detokenizer_) Emit(stops_.Push(detokenizer_->Push(token)));
    if (stops_.stopped()) result_.finish = "stop";
    return !stops_.stopped() && !reader_gone_;
  }
  void Emit(const std::string& text) {
    result_.text += text;
    if (!options_.json) Show(input_.tokenizer ? text : "");
  }
  // A reader that has had enough (… | head) ends the generation; it is not an error.
  void Show(const std::string& text) {
    if (text.empty() || reader_gone_) return;
    reader_gone_ =
        std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0;
  }

  const Options& options_;
  const Input& input_;
  exec::Engine& engine_;
  text::Sampler sampler_;
  text::StopMatcher stops_;
  std::optional<text::Detokenizer> detokenizer_;
  Result result_;
  bool reader_gone_ = false;
};

double Rate(size_t n, double seconds) {
  return seconds > 0 ? static_cast<double>(n) / seconds : 0;
}

void PrintResult(const Options& options, const Input& input, const Result& result,
                 const ModelSession& session) {
  // The first new token comes out of the prompt's last step.
  const size_t decoded = result.tokens.empty() ? 0 : result.tokens.size() - 1;
  if (!options.json) {
    if (!input.tokenizer) {
      std::string ids;
      for (int32_t token : result.tokens) ids += fmt::format("{}{}", ids.empty() ? "" : ",", token);
      Print(ids + "\n");
    }
    log::info("prompt {} tokens, {:.1f} tokens/s; new {} tokens, {:.1f} tokens/s; seed {}",
              input.prompt.size(), Rate(input.prompt.size(), result.prompt_seconds), result.tokens.size(),
              Rate(decoded, result.decode_seconds), input.sampler.seed);
    return;
  }
  double load_seconds = 0;
  for (const auto& rank : session.report().ranks())
    load_seconds = std::max(load_seconds, rank.load_seconds());
  nlohmann::ordered_json json;
  json["tokens"] = result.tokens;
  json["text"] = result.text;
  json["finish_reason"] = result.finish;
  json["prompt_tokens"] = input.prompt.size();
  json["seed"] = input.sampler.seed;
  json["timings"] = {{"load_seconds", load_seconds},
                     {"prompt_seconds", result.prompt_seconds},
                     {"prompt_tokens_per_second", Rate(input.prompt.size(), result.prompt_seconds)},
                     {"decode_seconds", result.decode_seconds},
                     {"decode_tokens_per_second", Rate(decoded, result.decode_seconds)}};
  Print(json.dump(2) + "\n");
}

}  // namespace

Command GenerateCommand() {
  auto options = std::make_shared<Options>();
  Command command;
  command.name = "generate";
  command.summary = "Continue a text; streams to stdout, statistics on stderr";
  command.examples =
      "  onecopy generate -p 'Dorothy said' -n 64\n"
      "  onecopy generate -m model.gguf -p 'The capital of France is' --temp 0 --json\n"
      "  onecopy generate -m model.gguf --tokens 9707,11 -n 16 --ignore-eos\n";
  command.add_options = [options](CLI::App* app) {
    AddModelOptions(app, &options->model);
    auto* prompt =
        app->add_option("-p,--prompt", options->prompt, "text to continue; default: \"Once upon a time\"");
    app->add_option("--tokens", options->tokens, "token ids to continue, separated by commas, as they are")
        ->delimiter(',')
        ->excludes(prompt);
    app->add_option("-n,--predict", options->n, "most new tokens")
        ->check(CLI::Range(0u, 1u << 26))
        ->capture_default_str();
    AddSamplingOptions(app, &options->sampling);
    app->add_option("--stop", options->stops, "end before this text; may be repeated");
    app->add_flag("--ignore-eos", options->ignore_eos, "go on after an end token");
    app->add_flag("--json", options->json,
                  "print one JSON object at the end: tokens (the new ones), text, timings");
  };
  command.run = [options](comm::Communicator& comm, const Seat& seat) {
    Input input;
    ModelSession session(
        comm, seat, options->model,
        [&](const Checkpoint& checkpoint, const proto::ModelSpec& spec, proto::EngineOptions* engine) {
          input = Prepare(*options, checkpoint, spec);
          engine->set_kv_tokens(input.prompt.size() + options->n);
        });
    session.Run([&](exec::Engine& engine) {
      std::fputs(report::ReportTable(session.report()).c_str(), stderr);
      const Result result = Generation(*options, input, engine).Run();
      PrintResult(*options, input, result, session);
    });
  };
  return command;
}

}  // namespace onecopy::cli
