// POST /v1/chat/completions. Source: OpenAI API reference, "Chat"; reasoning_content as DeepSeek's API and vLLM have it.
#include "runtime/serve/api.h"
#include "runtime/serve/chat_prompt.h"
#include "runtime/serve/event_stream.h"
#include "runtime/serve/structure.h"

namespace onecopy::serve {
namespace {

constexpr int64_t kMostTopLogprobs = 20;

Json BytesOf(const std::string& piece) {
  Json bytes = Json::array();
  for (const char c : piece) bytes.push_back(static_cast<unsigned char>(c));
  return bytes;
}

Json LogprobsJson(const std::vector<TokenChoice>& tokens, const text::Tokenizer& tokenizer) {
  Json content = Json::array();
  const auto entry = [&](int32_t token, float logprob) {
    const std::string& piece = tokenizer.Piece(token);
    return Json{{"token", piece}, {"logprob", std::max(logprob, -9999.0f)}, {"bytes", BytesOf(piece)}};
  };
  for (const TokenChoice& choice : tokens) {
    Json one = entry(choice.token, choice.logprobs.logprob);
    one["top_logprobs"] = Json::array();
    for (const TokenLogprob& top : choice.logprobs.top)
      one["top_logprobs"].push_back(entry(top.token, top.logprob));
    content.push_back(std::move(one));
  }
  return {{"content", std::move(content)}};
}

// The delta of a chunk: {"index", "id", "type", "function"} where a call begins, {"index", "function"} after it.
Json CallsChange(const std::vector<text::AnswerDelta>& calls) {
  Json changes = Json::array();
  for (const text::AnswerDelta& call : calls) {
    if (call.kind == text::AnswerDelta::Kind::kCallBegin) {
      changes.push_back({{"index", call.call},
                         {"id", call.id},
                         {"type", "function"},
                         {"function", {{"name", call.text}, {"arguments", ""}}}});
    } else {
      changes.push_back({{"index", call.call}, {"function", {{"arguments", call.text}}}});
    }
  }
  return changes;
}

class ChatAnswer : public Answer {
 public:
  ChatAnswer(const ApiContext& context, std::shared_ptr<Exchange> exchange, uint32_t n, bool stream,
             bool with_usage, bool with_logprobs)
      : context_(context),
        exchange_(std::move(exchange)),
        events_(exchange_),
        stream_(stream),
        with_usage_(with_usage),
        with_logprobs_(with_logprobs),
        choices_(n) {}

  void OnDelta(size_t index, const Delta& delta) override {
    State& choice = choices_[index];
    if (stream_) {
      Json change = Json::object();
      Begin(choice, &change);
      if (!delta.reasoning.empty()) change["reasoning_content"] = delta.reasoning;
      if (!delta.calls.empty()) change["tool_calls"] = CallsChange(delta.calls);
      if (!delta.content.empty() || (delta.reasoning.empty() && delta.calls.empty()))
        change["content"] = delta.content;
      for (const text::AnswerDelta& call : delta.calls)
        choice.num_calls += call.kind == text::AnswerDelta::Kind::kCallBegin;
      SendChunk(index, std::move(change), Json(), delta.tokens);
      return;
    }
    choice.content += delta.content;
    choice.reasoning += delta.reasoning;
    AddCalls(delta.calls, &choice);
    choice.tokens.insert(choice.tokens.end(), delta.tokens.begin(), delta.tokens.end());
  }

  void OnChoiceEnd(size_t index, const Finish& finish, const std::string&) override {
    State& choice = choices_[index];
    usage_.Add(finish, index == 0);
    if (const auto error = ErrorOf(finish); error && !failed_) {
      failed_ = true;
      events_.Fail(*error);
    }
    if (failed_) return;
    const bool called = choice.num_calls > 0 && finish.reason == FinishReason::kStop;
    choice.finish_reason = called ? "tool_calls" : FinishReasonName(finish.reason);
    if (stream_) {
      Json change = Json::object();
      Begin(choice, &change);
      SendChunk(index, std::move(change), choice.finish_reason, {});
    }
    if (++ended_ < choices_.size()) return;
    if (stream_) {
      EndStream();
    } else {
      Respond();
    }
  }

  bool gone() const override { return exchange_->gone() || failed_; }

 private:
  struct State {
    std::string content, reasoning, finish_reason;
    Json calls = Json::array();  // but for streams
    size_t num_calls = 0;
    std::vector<TokenChoice> tokens;
    bool begun = false;
  };

  void AddCalls(const std::vector<text::AnswerDelta>& deltas, State* choice) {
    for (const text::AnswerDelta& delta : deltas) {
      if (delta.kind == text::AnswerDelta::Kind::kCallBegin) {
        choice->calls.push_back({{"id", delta.id},
                                 {"type", "function"},
                                 {"function", {{"name", delta.text}, {"arguments", ""}}}});
        ++choice->num_calls;
      } else {
        choice->calls.back()["function"]["arguments"].get_ref<std::string&>() += delta.text;
      }
    }
  }
  Json Head(const char* object) const {
    return {{"id", id_}, {"object", object}, {"created", created_}, {"model", context_.model_id}};
  }
  void Begin(State& choice, Json* change) {
    if (choice.begun) return;
    choice.begun = true;
    (*change)["role"] = "assistant";
    (*change)["content"] = "";
  }
  void SendChunk(size_t index, Json change, Json finish_reason, const std::vector<TokenChoice>& tokens) {
    Json chunk = Head("chat.completion.chunk");
    chunk["choices"] = Json::array(
        {{{"index", index},
          {"delta", std::move(change)},
          {"logprobs", with_logprobs_ && !tokens.empty() ? LogprobsJson(tokens, context_.tokenizer) : Json()},
          {"finish_reason", std::move(finish_reason)}}});
    if (with_usage_) chunk["usage"] = nullptr;
    events_.Send(DataEvent(chunk));
  }
  void EndStream() {
    if (with_usage_) {
      Json chunk = Head("chat.completion.chunk");
      chunk["choices"] = Json::array();
      chunk["usage"] = usage_.ToJson();
      events_.Send(DataEvent(chunk));
    }
    events_.End();
  }
  void Respond() {
    Json json = Head("chat.completion");
    json["choices"] = Json::array();
    for (size_t i = 0; i < choices_.size(); ++i) {
      const State& choice = choices_[i];
      Json message = {{"role", "assistant"}, {"content", choice.content}};
      if (!choice.reasoning.empty()) message["reasoning_content"] = choice.reasoning;
      if (!choice.calls.empty()) {
        message["tool_calls"] = choice.calls;
        if (choice.content.empty()) message["content"] = nullptr;
      }
      json["choices"].push_back(
          {{"index", i},
           {"message", std::move(message)},
           {"logprobs", with_logprobs_ ? LogprobsJson(choice.tokens, context_.tokenizer) : Json()},
           {"finish_reason", choice.finish_reason}});
    }
    json["usage"] = usage_.ToJson();
    RespondJson(*exchange_, json);
  }

  const ApiContext& context_;
  const std::shared_ptr<Exchange> exchange_;
  EventStream events_;
  const bool stream_, with_usage_, with_logprobs_;
  const std::string id_ = NewId("chatcmpl-");
  const int64_t created_ = UnixTime();
  std::vector<State> choices_;
  Usage usage_;
  size_t ended_ = 0;
  std::atomic<bool> failed_{false};
};

}  // namespace

void ChatCompletions(const ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  const Json body = ParseObject(exchange->request().body);
  const Params params(body);
  Generation generation;
  generation.n = static_cast<uint32_t>(params.Int("n", 1, 1, context.most_choices));
  generation.sampling = params.Sampling(context.sampling, context.spec.vocab_size());
  generation.ignore_eos = params.Bool("ignore_eos", false);
  generation.choice.stop = params.Strings("stop", 16);
  const bool logprobs = params.Bool("logprobs", false);
  const int64_t top = params.Int("top_logprobs", 0, 0, kMostTopLogprobs);
  if (top > 0 && !logprobs) throw ApiError(400, "top_logprobs: needs logprobs to be true", "top_logprobs");
  if (logprobs) generation.top_logprobs = static_cast<int>(top);
  const bool stream = params.Bool("stream", false);
  bool with_usage = false;
  if (const Json* options = params.Find("stream_options"); options != nullptr && stream) {
    if (!options->is_object()) throw ApiError(400, "stream_options: expected an object", "stream_options");
    with_usage = Params(*options).Bool("include_usage", false);
  }
  ChatPrompt prompt;
  if (const Json* messages = params.Find("messages")) prompt.messages = *messages;
  if (const Json* tools = params.Find("tools"); tools != nullptr && !tools->empty()) prompt.tools = *tools;
  if (const Json* variables = params.Find("chat_template_kwargs")) prompt.variables = *variables;
  if (const Json* choice = params.Find("tool_choice")) SetToolChoice(*choice, &prompt);
  prompt.add_generation_prompt = params.Bool("add_generation_prompt", true);
  SetStructure(context, params, &generation);
  SetPrompt(context, prompt, &generation);
  generation.max_tokens = MaxTokens(context, params, generation.prompts[0].size(), 0);
  const auto answer =
      std::make_shared<ChatAnswer>(context, exchange, generation.n, stream, with_usage, logprobs);
  Submit(context, generation, answer);
}

}  // namespace onecopy::serve
