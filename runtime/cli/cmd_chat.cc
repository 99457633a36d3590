// onecopy chat: a conversation in the terminal, or one turn a line of any other input. Keys and values of what was said are
// kept, so that a turn computes only what is new.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "runtime/cli/chat_options.h"
#include "runtime/cli/command.h"
#include "runtime/cli/conversation.h"
#include "runtime/cli/generation.h"
#include "runtime/cli/interrupt.h"
#include "runtime/cli/line_reader.h"
#include "runtime/cli/model_options.h"
#include "runtime/cli/model_session.h"
#include "runtime/cli/sampling_options.h"
#include "runtime/cli/tokenizer_source.h"
#include "runtime/report/run_report.h"
#include "runtime/text/answer/answer_parser.h"
#include "runtime/text/sampler.h"

namespace onecopy::cli {
namespace {

// Keys and values of a whole context of 128k tokens would be more than many models' weights.
constexpr uint64_t kDefaultContext = 8192;
// What an answer has room for at least; the oldest turns make way for it.
constexpr size_t kLeastAnswer = 64;

constexpr char kHelp[] =
    "/system TEXT  what the model is told first; without TEXT: nothing\n"
    "/reset        begin a new conversation\n"
    "/save FILE    write the conversation as JSON\n"
    "/help         this\n"
    "/exit         leave, as Ctrl-D does; Ctrl-C stops an answer\n";

struct ConversationOptions {
  ModelOptions model;
  SamplingOptions sampling;
  ChatOptions chat;
  std::string system;
  uint32_t n = 0;
};

// What rank 0 prepares before the model is loaded.
struct ChatInput {
  std::optional<text::Tokenizer> tokenizer;
  std::string source;  // of a template that was given
  nlohmann::ordered_json variables;
  text::SamplerOptions sampler;
};

class Chat {
 public:
  Chat(const ConversationOptions& options, const ChatInput& input, jinja::Renderer& renderer,
       exec::Engine& engine)
      : options_(options),
        tokenizer_(*input.tokenizer),
        engine_(engine),
        format_(text::ChooseAnswerFormat(
            input.source.empty() ? text::ChooseChatTemplate(tokenizer_, /*has_tools=*/false) : input.source,
            tokenizer_)),
        conversation_(renderer, tokenizer_, input.source, input.variables),
        sampler_(input.sampler, static_cast<int32_t>(engine.spec().vocab_size())) {
    conversation_.SetSystem(options.system);
  }

  // Until the input ends or somebody wants to leave. Errors: kInterrupted for Ctrl-C.
  void Run() {
    if (lines_.interactive()) std::fputs("/help lists commands\n", stderr);
    std::string line;
    while (!leaving_ && !reader_gone_) {
      interrupt_.Reset();
      const LineReader::Outcome outcome = lines_.Read(&line);
      if (outcome == LineReader::Outcome::kEnd) return;
      if (outcome == LineReader::Outcome::kInterrupted) break;
      if (line.find_first_not_of(" \t") == std::string::npos) continue;
      if (line[0] == '/') {
        Command(line);
      } else {
        Turn(line);
      }
      if (interrupt_.count() > 1) break;
    }
    if (!leaving_ && !reader_gone_) Fail(ErrorCode::kInterrupted, "interrupted");
  }

 private:
  void Command(const std::string& line) {
    const size_t space = std::min(line.find(' '), line.size());
    const std::string name = line.substr(0, space);
    const std::string rest = space < line.size() ? line.substr(space + 1) : "";
    if (name == "/exit" || name == "/quit") {
      leaving_ = true;
    } else if (name == "/help") {
      std::fputs(kHelp, stderr);
    } else if (name == "/reset") {
      conversation_.Reset();
      log::info("a new conversation");
    } else if (name == "/system") {
      conversation_.SetSystem(rest);
      log::info("{}", rest.empty() ? "no system message" : "the system message is set");
    } else if (name == "/save" && !rest.empty()) {
      try {
        WriteFile(rest, conversation_.Messages().dump(2) + "\n");
        log::info("{} is written", rest);
      } catch (const Error& error) {
        log::error("{}", error.what());
      }
    } else {
      log::error("there is no command {}; /help lists them", line);
    }
  }

  // A message of the user and the model's answer. What the template refuses is not part of the conversation.
  void Turn(const std::string& line) {
    const size_t capacity = std::min<size_t>(engine_.kv_tokens(), engine_.spec().context_length());
    conversation_.Add({{"role", "user"}, {"content", line}});
    std::vector<int32_t> prompt;
    size_t forgotten = 0;
    try {
      prompt = conversation_.Prompt(capacity - std::min(capacity / 2, kLeastAnswer), &forgotten);
    } catch (const Error& error) {
      conversation_.RemoveLast();
      log::error("{}", error.what());
      return;
    }
    if (forgotten > 0)
      log::warn("the context of {} tokens is full: the oldest {} forgotten; a larger --context keeps more",
                capacity, forgotten == 1 ? "turn is" : fmt::format("{} turns are", forgotten));
    conversation_.Add(Answer(prompt, capacity));
  }

  nlohmann::ordered_json Answer(const std::vector<int32_t>& prompt, size_t capacity) {
    size_t kept = std::min(CommonPrefix(read_, prompt), prompt.size() - 1);
    // What a state has taken in cannot be taken back: then all is read again.
    if (engine_.forward_only() && kept != engine_.length(0)) kept = 0;
    const size_t room = capacity - prompt.size() + 1;  // the last token need not be read
    const size_t n = options_.n == 0 ? room : std::min<size_t>(room, options_.n);
    text::AnswerParser parser(tokenizer_, format_,
                              {.in_thought = text::EndsInThought(format_, tokenizer_, prompt)});
    size_t said = 0;
    bool ended = false;
    read_ = prompt;
    const GenerationTimes times = Generation(engine_, sampler_, DraftLength::Always(0))
                                      .Run(
                                          prompt, n,
                                          [&](int32_t token) {
                                            read_.push_back(token);
                                            ended = tokenizer_.IsEndOfGeneration(token);
                                            if (!ended) Show(parser.Push(token));
                                            said += !ended;
                                            return !ended && interrupt_.count() == 0 && !reader_gone_;
                                          },
                                          kept);
    read_.pop_back();  // the model chose it, and has not read it
    Show(parser.Flush());
    Show({{text::AnswerDelta::Kind::kContent, "\n"}});
    Report(prompt.size(), kept, said, times);
    if (!ended && interrupt_.count() == 0 && said == room)
      log::warn("the answer ends because the context of {} tokens is full; a larger --context lets it go on",
                capacity);
    return parser.Message();
  }

  static double Rate(size_t n, double seconds) { return seconds > 0 ? static_cast<double>(n) / seconds : 0; }
  void Report(size_t prompt, size_t kept, size_t said, const GenerationTimes& times) const {
    log::info("read {} tokens, {:.1f} tokens/s, {} known before; answered {} tokens, {:.1f} tokens/s",
              prompt - kept, Rate(prompt - kept, times.prompt_seconds), kept, said,
              Rate(times.steps, times.decode_seconds));
  }

  // What is said to stdout; what is only thought to stderr, where a person sees it.
  void Show(const std::vector<text::AnswerDelta>& deltas) {
    for (const text::AnswerDelta& delta : deltas) {
      if (reader_gone_) return;
      if (delta.kind == text::AnswerDelta::Kind::kReasoning) {
        if (lines_.interactive()) std::fputs(delta.text.c_str(), stderr);
        thought_last_ = true;
        continue;
      }
      if (thought_last_ && lines_.interactive()) std::fputs("\n", stderr);
      thought_last_ = false;
      reader_gone_ = !PrintToReader(delta.text);
    }
  }

  const ConversationOptions& options_;
  const text::Tokenizer& tokenizer_;
  exec::Engine& engine_;
  const text::AnswerFormat format_;
  Conversation conversation_;
  text::Sampler sampler_;
  LineReader lines_{"> "};
  Interrupt interrupt_;
  std::vector<int32_t> read_;  // whose keys and values are in the cache
  bool leaving_ = false, reader_gone_ = false, thought_last_ = false;
};

// Everything that can be wrong with the template is found before minutes of loading.
ChatInput PrepareChat(const ConversationOptions& options, const Checkpoint& checkpoint,
                      jinja::Renderer& renderer) {
  ChatInput input;
  input.tokenizer = MakeTokenizer(checkpoint);
  input.source = ReadChatTemplate(options.chat);
  input.variables = ChatVariables(options.chat);
  input.sampler = ResolveSampling(options.sampling, checkpoint);
  Conversation trial(renderer, *input.tokenizer, input.source, input.variables);
  trial.SetSystem(options.system);
  trial.Add({{"role", "user"}, {"content", "Hello"}});
  size_t forgotten = 0;
  trial.Prompt(SIZE_MAX, &forgotten);
  return input;
}

}  // namespace

Command ChatCommand() {
  auto options = std::make_shared<ConversationOptions>();
  Command command;
  command.name = "chat";
  command.summary = "A conversation in the terminal, or one turn a line of other input";
  command.examples =
      "  onecopy chat -m model.gguf --system 'Answer in one sentence.'\n"
      "  printf 'Who are you?\\nAnd who am I?\\n' | onecopy chat -m model.gguf --temp 0\n";
  command.add_options = [options](CLI::App* app) {
    AddModelOptions(app, &options->model);
    app->get_option("--context")
        ->description(fmt::format(
            "tokens that a conversation may have before its oldest turns are forgotten; default: {}, or the "
            "model's where that is less",
            kDefaultContext));
    app->add_option("--system", options->system, "what the model is told first")->type_name("TEXT");
    app->add_option("-n,--predict", options->n, "most tokens of an answer; default: until it ends");
    AddChatOptions(app, &options->chat);
    AddSamplingOptions(app, &options->sampling);
  };
  command.run = [options](comm::Communicator& comm, const Seat& seat) {
    ChatInput input;
    jinja::Renderer renderer;
    ModelSession session(
        comm, seat, options->model,
        [&](const Checkpoint& checkpoint, const proto::ModelSpec& spec, proto::EngineOptions* engine) {
          input = PrepareChat(*options, checkpoint, renderer);
          const text::Sampler check(input.sampler, static_cast<int32_t>(spec.vocab_size()));
          // --context is then free to be less.
          engine->set_kv_tokens(
              options->model.context > 0 ? 1 : std::min<uint64_t>(kDefaultContext, spec.context_length()));
        });
    if (!session.leads()) Interrupt::Ignore();
    session.Run([&](exec::Engine& engine) {
      std::fputs(report::ReportTable(session.report()).c_str(), stderr);
      Chat(*options, input, renderer, engine).Run();
    });
  };
  return command;
}

}  // namespace onecopy::cli
