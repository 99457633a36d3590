// Api: the routes of the server. A route is a function of a request and what all share, and one row in api.cc.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "proto/model.pb.h"
#include "proto/report.pb.h"
#include "runtime/grammar/grammar_cache.h"
#include "runtime/grammar/token_table.h"
#include "runtime/jinja/renderer.h"
#include "runtime/serve/answer.h"
#include "runtime/serve/host_guard.h"
#include "runtime/serve/http.h"
#include "runtime/serve/metrics.h"
#include "runtime/serve/params.h"
#include "runtime/serve/service.h"
#include "runtime/text/tokenizer.h"

namespace onecopy::serve {

// References outlive it.
struct ApiContext {
  Service& service;
  Metrics& metrics;
  const text::Tokenizer& tokenizer;
  std::shared_ptr<const grammar::TokenTable> token_table;  // of the tokenizer
  grammar::GrammarCache& grammars;
  jinja::Renderer& renderer;
  const proto::ModelSpec& spec;
  const proto::RunReport& report;
  std::string model_id;         // what /v1/models calls it
  std::string template_source;  // empty: the model's own
  Json template_variables;
  text::SamplerOptions sampling;      // where a request says nothing
  std::vector<std::string> api_keys;  // empty: everybody may
  HostGuard host_guard = {};
  double request_seconds = 600;  // of one request, waiting included
  uint32_t most_choices = 16;    // n
  bool access_log = true;
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
};

class Api {
 public:
  explicit Api(ApiContext context);
  // From any thread. Never throws; the exchange is answered, or will be.
  void Handle(const std::shared_ptr<Exchange>& exchange) const;

 private:
  void Route(const std::shared_ptr<Exchange>& exchange) const;
  bool IsAllowed(const HttpRequest& request) const;

  const ApiContext context_;
};

using Route = void (*)(const ApiContext& context, const std::shared_ptr<Exchange>& exchange);

// openai_chat.cc, openai_completions.cc
void ChatCompletions(const ApiContext& context, const std::shared_ptr<Exchange>& exchange);
void Completions(const ApiContext& context, const std::shared_ptr<Exchange>& exchange);
// anthropic_messages.cc
void Messages(const ApiContext& context, const std::shared_ptr<Exchange>& exchange);
void CountTokens(const ApiContext& context, const std::shared_ptr<Exchange>& exchange);
Json AnthropicErrorJson(const ApiError& error);
// openai_responses.cc
void Responses(const ApiContext& context, const std::shared_ptr<Exchange>& exchange);
// api_text.cc
void Tokenize(const ApiContext& context, const std::shared_ptr<Exchange>& exchange);
void Detokenize(const ApiContext& context, const std::shared_ptr<Exchange>& exchange);
// api_status.cc
void Models(const ApiContext& context, const std::shared_ptr<Exchange>& exchange);
void Model(const ApiContext& context, const std::shared_ptr<Exchange>& exchange);
void Health(const ApiContext& context, const std::shared_ptr<Exchange>& exchange);
void MetricsText(const ApiContext& context, const std::shared_ptr<Exchange>& exchange);
void Machine(const ApiContext& context, const std::shared_ptr<Exchange>& exchange);
// web_page.cc
void WebPage(const ApiContext& context, const std::shared_ptr<Exchange>& exchange);
void Embeddings(const ApiContext& context, const std::shared_ptr<Exchange>& exchange);

// A JSON answer.
void RespondJson(Exchange& exchange, const Json& json, int status = 200);
void RespondError(Exchange& exchange, const ApiError& error);
// In the form of the API that the request's path belongs to.
Json ErrorJsonFor(const HttpRequest& request, const ApiError& error);

// What the generating routes have in common.
struct Generation {
  std::vector<std::vector<int32_t>> prompts;
  uint32_t n = 1;  // choices of each prompt; choice i of prompt p is number p * n + i
  uint32_t max_tokens = 0;
  text::SamplerOptions sampling;
  bool ignore_eos = false;
  int top_logprobs = -1;
  bool prompt_logprobs = false;
  ChoiceOptions choice;
  std::shared_ptr<const grammar::Grammar> grammar;  // that the answer has to follow; null: none
};
// Errors: ApiError where a prompt is too long, or the server is full or stops.
void Submit(const ApiContext& context, const Generation& generation, const std::shared_ptr<Answer>& answer);
// max_tokens and its like; where the request has none, what the context has room for. Errors: ApiError.
uint32_t MaxTokens(const ApiContext& context, const Params& params, size_t prompt_tokens, int64_t fallback,
                   int64_t least = 1);
// {"prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details"}; prompt tokens of n choices count once.
Json UsageJson(uint64_t prompt_tokens, uint64_t cached_tokens, uint64_t generated_tokens);
// "stop", "length"
const char* FinishReasonName(FinishReason reason);
// The error that a client is told where a sequence failed; null where it did not.
std::optional<ApiError> ErrorOf(const Finish& finish);
int64_t UnixTime();
std::string NewId(const char* prefix);

}  // namespace onecopy::serve
