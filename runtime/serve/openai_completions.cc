// POST /v1/completions. Source: OpenAI API reference, "Completions (Legacy)".
#include <algorithm>

#include "runtime/serve/api.h"
#include "runtime/serve/event_stream.h"
#include "runtime/serve/structure.h"
#include "runtime/text/detokenizer.h"

namespace onecopy::serve {
namespace {

constexpr int64_t kDefaultTokens = 16;  // OpenAI's
constexpr size_t kMostPrompts = 64;
// Log-probabilities of prompts that an answer may have, alternatives included: some 30 MB of JSON, put together between
// two steps.
constexpr size_t kMostPromptLogprobs = 1 << 18;
// JSON has no infinity.
constexpr float kLeastLogprob = -9999;

// Characters of valid UTF-8.
size_t CharactersIn(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

class CompletionAnswer : public Answer {
 public:
  struct Options {
    bool stream, with_usage, with_logprobs;
    uint32_t n;                                 // choices of a prompt
    bool echo = false;                          // prompts are put before the text
    std::vector<std::vector<int32_t>> prompts;  // where they are; of each n choices follow one another
  };
  CompletionAnswer(const ApiContext& context, const std::shared_ptr<Exchange>& exchange, Options options,
                   size_t n_choices)
      : context_(context),
        exchange_(exchange),
        events_(exchange),
        options_(std::move(options)),
        choices_(n_choices) {}

  void OnPromptLogprobs(size_t index, const Logprobs& logprobs) override {
    choices_[index].prompt.push_back(logprobs);
  }

  void OnDelta(size_t index, const Delta& delta) override {
    State& choice = choices_[index];
    std::string text = Begin(index) + delta.content;
    AddLogprobs(choice, delta.tokens);
    if (options_.stream) return Send(index, text, Json());
    choice.text += text;
  }

  void OnChoiceEnd(size_t index, const Finish& finish, const std::string&) override {
    State& choice = choices_[index];
    usage_.Add(finish, index % options_.n == 0);
    if (const auto error = ErrorOf(finish); error && !failed_) {
      failed_ = true;
      events_.Fail(*error);
    }
    if (failed_) return;
    choice.finish_reason = FinishReasonName(finish.reason);
    std::string text = Begin(index);
    if (options_.stream) {
      Send(index, text, choice.finish_reason);
    } else {
      choice.text += text;
    }
    if (++ended_ < choices_.size()) return;
    if (options_.stream) {
      EndStream();
    } else {
      Respond();
    }
  }

  bool gone() const override { return exchange_->gone() || failed_; }

 private:
  struct State {
    std::string text, finish_reason;
    std::vector<Logprobs> prompt;  // from its second token on
    Json logprobs;                 // that are not sent yet
    bool begun = false;
    size_t offset = 0;  // of the next token's text, in characters, for text_offset
  };

  // The prompt's text and log-probabilities, where they are a part of the answer.
  std::string Begin(size_t index) {
    State& choice = choices_[index];
    if (std::exchange(choice.begun, true) || !options_.echo) return "";
    const std::vector<int32_t>& prompt = options_.prompts[index / options_.n];
    if (options_.with_logprobs) {
      text::Detokenizer detokenizer(context_.tokenizer, {.skip_special = true, .at_text_start = true});
      for (size_t i = 0; i < prompt.size() && i <= choice.prompt.size(); ++i) {
        AddLogprob(choice, prompt[i], i == 0 ? nullptr : &choice.prompt[i - 1]);
        choice.offset += CharactersIn(detokenizer.Push(prompt[i]));
      }
      choice.prompt = {};
    }
    std::string text = context_.tokenizer.Decode(prompt, true);
    choice.offset = CharactersIn(text);
    return text;
  }
  Json Head() const {
    return {{"id", id_}, {"object", "text_completion"}, {"created", created_}, {"model", context_.model_id}};
  }
  // logprobs: null for the first token of a prompt, which follows nothing.
  void AddLogprob(State& choice, int32_t token, const Logprobs* logprobs) const {
    Json& json = choice.logprobs;
    if (json.is_null())
      json = {{"tokens", Json::array()},
              {"token_logprobs", Json::array()},
              {"top_logprobs", Json::array()},
              {"text_offset", Json::array()}};
    const std::string& piece = context_.tokenizer.Piece(token);
    json["tokens"].push_back(piece);
    json["text_offset"].push_back(choice.offset);
    Json top;
    if (logprobs != nullptr) {
      top = Json::object();
      for (const TokenLogprob& t : logprobs->top)
        top.emplace(context_.tokenizer.Piece(t.token), std::max(t.logprob, kLeastLogprob));
      top[piece] = std::max(logprobs->logprob, kLeastLogprob);  // also where it is none of the likeliest
    }
    json["top_logprobs"].push_back(std::move(top));
    json["token_logprobs"].push_back(logprobs != nullptr ? Json(std::max(logprobs->logprob, kLeastLogprob))
                                                         : Json());
  }
  void AddLogprobs(State& choice, const std::vector<TokenChoice>& tokens) const {
    if (!options_.with_logprobs) return;
    for (const TokenChoice& token : tokens) {
      AddLogprob(choice, token.token, &token.logprobs);
      choice.offset += CharactersIn(context_.tokenizer.Piece(token.token));
    }
  }
  void Send(size_t index, const std::string& text, Json finish_reason) {
    Json chunk = Head();
    chunk["choices"] = Json::array({{{"text", text},
                                     {"index", index},
                                     {"logprobs", std::exchange(choices_[index].logprobs, Json())},
                                     {"finish_reason", std::move(finish_reason)}}});
    if (options_.with_usage) chunk["usage"] = nullptr;
    events_.Send(DataEvent(chunk));
  }
  void EndStream() {
    if (options_.with_usage) {
      Json chunk = Head();
      chunk["choices"] = Json::array();
      chunk["usage"] = usage_.ToJson();
      events_.Send(DataEvent(chunk));
    }
    events_.End();
  }
  void Respond() {
    Json json = Head();
    json["choices"] = Json::array();
    for (size_t i = 0; i < choices_.size(); ++i)
      json["choices"].push_back({{"text", choices_[i].text},
                                 {"index", i},
                                 {"logprobs", std::move(choices_[i].logprobs)},
                                 {"finish_reason", choices_[i].finish_reason}});
    json["usage"] = usage_.ToJson();
    RespondJson(*exchange_, json);
  }

  const ApiContext& context_;
  const std::shared_ptr<Exchange> exchange_;
  EventStream events_;
  const Options options_;
  const std::string id_ = NewId("cmpl-");
  const int64_t created_ = UnixTime();
  std::vector<State> choices_;
  Usage usage_;
  size_t ended_ = 0;
  std::atomic<bool> failed_{false};
};

bool IsTokens(const Json& json) {
  return json.is_array() && !json.empty() && json[0].is_number_integer();
}

std::vector<int32_t> TokensOf(const ApiContext& context, const Json& json) {
  std::vector<int32_t> tokens;
  for (const Json& id : json) {
    if (!id.is_number_integer() || id < 0 || id >= context.spec.vocab_size())
      throw ApiError(400,
                     fmt::format("prompt: expected token ids from 0 to {}", context.spec.vocab_size() - 1),
                     "prompt");
    tokens.push_back(id.get<int32_t>());
  }
  return tokens;
}

// A text, tokens, or an array of either.
std::vector<std::vector<int32_t>> PromptsOf(const ApiContext& context, const Params& params) {
  const Json* prompt = params.Find("prompt");
  if (prompt == nullptr)
    throw ApiError(400, "prompt: expected a text, token ids, or an array of them", "prompt");
  const auto one = [&](const Json& json) {
    if (json.is_string()) return context.tokenizer.Encode(json.get_ref<const std::string&>(), {});
    if (IsTokens(json)) return TokensOf(context, json);
    throw ApiError(400, "prompt: expected a text, token ids, or an array of them", "prompt");
  };
  if (prompt->is_string() || IsTokens(*prompt)) return {one(*prompt)};
  if (!prompt->is_array() || prompt->empty() || prompt->size() > kMostPrompts)
    throw ApiError(400, fmt::format("prompt: expected one to {} texts", kMostPrompts), "prompt");
  std::vector<std::vector<int32_t>> prompts;
  for (const Json& json : *prompt) prompts.push_back(one(json));
  return prompts;
}

}  // namespace

void Completions(const ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  const Json body = ParseObject(exchange->request().body);
  const Params params(body);
  Generation generation;
  generation.n = static_cast<uint32_t>(params.Int("n", 1, 1, context.most_choices));
  if (params.Int("best_of", generation.n, 1, INT32_MAX) != generation.n)
    throw ApiError(400, "best_of: other values than n are not supported", "best_of");
  if (!params.String("suffix", "").empty()) throw ApiError(400, "suffix: is not supported", "suffix");
  generation.sampling = params.Sampling(context.sampling, context.spec.vocab_size());
  generation.ignore_eos = params.Bool("ignore_eos", false);
  generation.choice.stop = params.Strings("stop", 16);
  generation.choice.end_token = true;
  const bool echo = params.Bool("echo", false);
  if (params.Has("logprobs")) {
    generation.top_logprobs = static_cast<int>(params.Int("logprobs", 0, 0, 20));
    generation.prompt_logprobs = echo;
  }
  CompletionAnswer::Options options = {
      .stream = params.Bool("stream", false),
      .with_usage = false,
      .with_logprobs = generation.top_logprobs >= 0,
      .n = generation.n,
      .echo = echo,
      .prompts = {},
  };
  if (const Json* more = params.Find("stream_options"); more != nullptr && options.stream) {
    if (!more->is_object()) throw ApiError(400, "stream_options: expected an object", "stream_options");
    options.with_usage = Params(*more).Bool("include_usage", false);
  }
  SetStructure(context, params, &generation);
  generation.prompts = PromptsOf(context, params);
  size_t longest = 0, all = 0;
  for (const auto& prompt : generation.prompts) {
    if (prompt.empty()) throw ApiError(400, "the prompt is empty", "prompt");
    longest = std::max(longest, prompt.size());
    all += prompt.size() * generation.n;
  }
  if (generation.prompt_logprobs &&
      all * static_cast<size_t>(1 + generation.top_logprobs) > kMostPromptLogprobs)
    throw ApiError(
        400,
        fmt::format(
            "logprobs: {} tokens of prompts with {} alternatives each are more than the {} values that "
            "an answer may have; send fewer prompts, or ask for fewer alternatives",
            all, generation.top_logprobs, kMostPromptLogprobs),
        "logprobs");
  if (echo) options.prompts = generation.prompts;
  generation.max_tokens = MaxTokens(context, params, longest, kDefaultTokens, echo ? 0 : 1);
  Submit(context, generation,
         std::make_shared<CompletionAnswer>(context, exchange, std::move(options),
                                            generation.prompts.size() * generation.n));
}

}  // namespace onecopy::serve
