// generate: continue a text.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>

#include "runtime/base/error.h"
#include "runtime/base/log.h"
#include "runtime/cli/command.h"
#include "runtime/cli/draft_length.h"
#include "runtime/cli/generation.h"
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

constexpr char kDefaultPrompt[] = "Once upon a time";

struct GenerateOptions {
  ModelOptions model;
  SamplingOptions sampling;
  std::optional<std::string> prompt;
  std::vector<int32_t> tokens;
  uint32_t n = 128;
  bool ignore_eos = false, json = false;
  std::vector<std::string> stops;
  DraftLength draft_length = DraftLength::Always(0);
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
  GenerationTimes times;
};

Input PrepareInput(const GenerateOptions& options, const Checkpoint& checkpoint,
                   const proto::ModelSpec& spec) {
  if (options.draft_length.drafts() && !spec.linear_layers().empty())
    Fail(ErrorCode::kUsage,
         "--speculate does not work with {}: its linear attention cannot take back a wrong guess; leave the "
         "option out",
         spec.name());
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
  const text::Sampler sampling_check(input.sampler, static_cast<int32_t>(spec.vocab_size()));
  const text::StopMatcher stops_check(options.stops);
  return input;
}

// The text of the new tokens: to stdout as it comes, or kept for the JSON.
class Writer {
 public:
  Writer(const GenerateOptions& options, const Input& input)
      : options_(options), input_(input), stops_(options.stops) {
    if (input.tokenizer) detokenizer_.emplace(*input.tokenizer, text::DetokenizerOptions{});
  }

  Result Run(exec::Engine& engine) {
    if (!options_.json && options_.tokens.empty()) Show(options_.prompt.value_or(kDefaultPrompt));
    text::Sampler sampler(input_.sampler, static_cast<int32_t>(engine.spec().vocab_size()));
    result_.times =
        Generation(engine, sampler, options_.draft_length).Run(input_.prompt, options_.n, [&](int32_t token) {
          return Accept(token);
        });
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
    reader_gone_ = !PrintToReader(text);
  }

  const GenerateOptions& options_;
  const Input& input_;
  text::StopMatcher stops_;
  std::optional<text::Detokenizer> detokenizer_;
  Result result_;
  bool reader_gone_ = false;
};

DraftLength ParseDraftLength(const std::string& text) {
  if (text == "off") return DraftLength::Always(0);
  if (text == "auto") return DraftLength::AsPays();
  const bool is_number =
      !text.empty() && text.size() < 4 && text.find_first_not_of("0123456789") == std::string::npos;
  const int n = is_number ? std::stoi(text) : 0;
  if (n < 1 || n > static_cast<int>(DraftLength::kMost))
    throw CLI::ValidationError(
        "--speculate",
        fmt::format("'{}' is neither auto, off nor a number from 1 to {}", text, DraftLength::kMost));
  return DraftLength::Always(static_cast<uint32_t>(n));
}

double Rate(size_t n, double seconds) {
  return seconds > 0 ? static_cast<double>(n) / seconds : 0;
}

void PrintResult(const GenerateOptions& options, const Input& input, const Result& result,
                 const ModelSession& session) {
  // The first new token comes out of the prompt's last step.
  const size_t decoded = result.tokens.empty() ? 0 : result.tokens.size() - 1;
  const GenerationTimes& times = result.times;
  if (!options.json) {
    if (!input.tokenizer) {
      std::string ids;
      for (int32_t token : result.tokens) ids += fmt::format("{}{}", ids.empty() ? "" : ",", token);
      Print(ids + "\n");
    }
    log::info("prompt {} tokens, {:.1f} tokens/s; new {} tokens, {:.1f} tokens/s; seed {}",
              input.prompt.size(), Rate(input.prompt.size(), times.prompt_seconds), result.tokens.size(),
              Rate(decoded, times.decode_seconds), input.sampler.seed);
    if (times.drafted > 0)
      log::info("{} tokens guessed, {:.0f} % of them right; {:.2f} new tokens a step", times.drafted,
                100.0 * static_cast<double>(times.accepted) / static_cast<double>(times.drafted),
                static_cast<double>(decoded) / static_cast<double>(times.steps));
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
                     {"prompt_seconds", times.prompt_seconds},
                     {"prompt_tokens_per_second", Rate(input.prompt.size(), times.prompt_seconds)},
                     {"decode_seconds", times.decode_seconds},
                     {"decode_tokens_per_second", Rate(decoded, times.decode_seconds)},
                     {"decode_steps", times.steps},
                     {"drafted_tokens", times.drafted},
                     {"accepted_tokens", times.accepted}};
  Print(json.dump(2) + "\n");
}

}  // namespace

Command GenerateCommand() {
  auto options = std::make_shared<GenerateOptions>();
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
    app->add_option_function<std::string>(
           "--speculate",
           [options](const std::string& text) { options->draft_length = ParseDraftLength(text); },
           "guess tokens from what stood in the text before and verify them together, N a step or as many as "
           "pay "
           "(auto); the tokens are the same; default: off")
        ->type_name("auto|N|off");
    app->add_flag("--ignore-eos", options->ignore_eos, "go on after an end token");
    app->add_flag("--json", options->json,
                  "print one JSON object at the end: tokens (the new ones), text, timings");
  };
  command.run = [options](comm::Communicator& comm, const Seat& seat) {
    Input input;
    ModelSession session(
        comm, seat, options->model,
        [&](const Checkpoint& checkpoint, const proto::ModelSpec& spec, proto::EngineOptions* engine) {
          input = PrepareInput(*options, checkpoint, spec);
          engine->set_kv_tokens(input.prompt.size() + options->n);
        });
    session.Run([&](exec::Engine& engine) {
      std::fputs(report::ReportTable(session.report()).c_str(), stderr);
      const Result result = Writer(*options, input).Run(engine);
      PrintResult(*options, input, result, session);
    });
  };
  return command;
}

}  // namespace onecopy::cli
