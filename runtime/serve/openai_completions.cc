// POST /v1/completions. Source: OpenAI API reference, "Completions (Legacy)".
#include "runtime/serve/api.h"
#include "runtime/serve/event_stream.h"
#include "runtime/serve/structure.h"

namespace onecopy::serve {
namespace {

constexpr int64_t kDefaultTokens = 16;  // OpenAI's
constexpr size_t kMostPrompts = 64;

class CompletionAnswer : public Answer {
 public:
  struct Options {
    bool stream, with_usage, with_logprobs;
    std::vector<std::string> echo;  // by choice; put before its text
    uint32_t n;                     // choices of a prompt
  };
  CompletionAnswer(const ApiContext& context, const std::shared_ptr<Exchange>& exchange, Options options)
      : context_(context),
        exchange_(exchange),
        events_(exchange),
        options_(std::move(options)),
        choices_(options_.echo.size()) {}

  void OnDelta(size_t index, const Delta& delta) override {
    State& choice = choices_[index];
    std::string text = Begin(index) + delta.content;
    if (options_.stream) return Send(index, text, Json(), delta.tokens);
    choice.text += text;
    choice.tokens.insert(choice.tokens.end(), delta.tokens.begin(), delta.tokens.end());
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
      Send(index, text, choice.finish_reason, {});
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
    std::vector<TokenChoice> tokens;
    bool begun = false;
    size_t offset = 0;  // of the next token's text, for text_offset
  };

  std::string Begin(size_t index) {
    if (choices_[index].begun) return "";
    choices_[index].begun = true;
    choices_[index].offset = options_.echo[index].size();
    return options_.echo[index];
  }
  Json Head() const {
    return {{"id", id_}, {"object", "text_completion"}, {"created", created_}, {"model", context_.model_id}};
  }
  Json LogprobsJson(State& choice, const std::vector<TokenChoice>& tokens) const {
    if (!options_.with_logprobs) return {};
    Json json = {{"tokens", Json::array()},
                 {"token_logprobs", Json::array()},
                 {"top_logprobs", Json::array()},
                 {"text_offset", Json::array()}};
    for (const TokenChoice& token : tokens) {
      const std::string& piece = context_.tokenizer.Piece(token.token);
      json["tokens"].push_back(piece);
      json["token_logprobs"].push_back(std::max(token.logprobs.logprob, -9999.0f));
      Json top = Json::object();
      for (const TokenLogprob& t : token.logprobs.top)
        top[context_.tokenizer.Piece(t.token)] = std::max(t.logprob, -9999.0f);
      json["top_logprobs"].push_back(std::move(top));
      json["text_offset"].push_back(choice.offset);
      choice.offset += piece.size();
    }
    return json;
  }
  void Send(size_t index, const std::string& text, Json finish_reason,
            const std::vector<TokenChoice>& tokens) {
    Json chunk = Head();
    chunk["choices"] = Json::array({{{"text", text},
                                     {"index", index},
                                     {"logprobs", LogprobsJson(choices_[index], tokens)},
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
                                 {"logprobs", LogprobsJson(choices_[i], choices_[i].tokens)},
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
  const bool echo = params.Bool("echo", false);
  if (params.Has("logprobs")) {
    generation.top_logprobs = static_cast<int>(params.Int("logprobs", 0, 0, 20));
    if (echo) throw ApiError(400, "logprobs: of the prompt (echo) are not supported", "logprobs");
  }
  CompletionAnswer::Options options = {
      params.Bool("stream", false), false, generation.top_logprobs >= 0, {}, generation.n};
  if (const Json* more = params.Find("stream_options"); more != nullptr && options.stream) {
    if (!more->is_object()) throw ApiError(400, "stream_options: expected an object", "stream_options");
    options.with_usage = Params(*more).Bool("include_usage", false);
  }
  SetStructure(params, &generation);
  generation.prompts = PromptsOf(context, params);
  size_t longest = 0;
  for (const auto& prompt : generation.prompts) {
    if (prompt.empty()) throw ApiError(400, "the prompt is empty", "prompt");
    longest = std::max(longest, prompt.size());
    for (uint32_t i = 0; i < generation.n; ++i)
      options.echo.push_back(echo ? context.tokenizer.Decode(prompt, true) : std::string());
  }
  generation.max_tokens = MaxTokens(context, params, longest, kDefaultTokens);
  Submit(context, generation, std::make_shared<CompletionAnswer>(context, exchange, std::move(options)));
}

}  // namespace onecopy::serve
