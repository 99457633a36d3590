#include "runtime/serve/api.h"

#include <fmt/chrono.h>

#include <random>

#include "runtime/base/error.h"
#include "runtime/base/log.h"
#include "runtime/serve/structure.h"

namespace onecopy::serve {
namespace {

struct Row {
  const char* method;
  const char* path;  // one that ends in / takes all that begins so
  serve::Route route;
  bool open = false;  // without a key
};

constexpr Row kRows[] = {
    {"POST", "/v1/chat/completions", ChatCompletions},
    {"POST", "/v1/completions", Completions},
    {"POST", "/v1/responses", Responses},
    {"POST", "/v1/messages", Messages},
    {"POST", "/v1/messages/count_tokens", CountTokens},
    {"POST", "/v1/embeddings", Embeddings},
    {"GET", "/v1/models", Models},
    {"GET", "/v1/models/", Model},
    {"POST", "/tokenize", Tokenize},
    {"POST", "/detokenize", Detokenize},
    {"GET", "/health", Health, true},
    {"GET", "/metrics", MetricsText},
    {"GET", "/api/machine", Machine},
    {"GET", "/", WebPage, true},
    {"GET", "/web/", WebPage, true},
    {"GET", "/openapi.json", WebPage, true},
};

bool Matches(const Row& row, const std::string& path) {
  const std::string_view pattern = row.path;
  return pattern.size() > 1 && pattern.back() == '/'
             ? path.size() > pattern.size() && path.starts_with(pattern)
             : path == pattern;
}

// Takes the same time wherever two strings of one length differ.
bool EqualInConstantTime(std::string_view a, std::string_view b) {
  unsigned char difference = a.size() == b.size() ? 0 : 1;
  for (size_t i = 0; i < a.size(); ++i)
    difference |= static_cast<unsigned char>(a[i] ^ (b.empty() ? 0 : b[i % b.size()]));
  return difference == 0;
}

// Passes calls on, and writes the access log. What was said is in neither.
class LoggedExchange : public Exchange {
 public:
  LoggedExchange(const ApiContext& context, std::shared_ptr<Exchange> inner, std::string route)
      : context_(context), inner_(std::move(inner)), route_(std::move(route)) {}
  ~LoggedExchange() override {
    if (status_ == 0) Count(500);  // nobody answered
    if (!context_.access_log) return;
    const HttpRequest& r = inner_->request();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
    log::info("{} {} {} {} {} {:.3f} s{}", r.peer, r.id, r.method, r.path.substr(0, 200), status_.load(),
              seconds, inner_->gone() ? ", the client had gone" : "");
  }
  const HttpRequest& request() const override { return inner_->request(); }
  void DropBody() override { inner_->DropBody(); }
  void Respond(HttpResponse response) override {
    Count(response.status);
    inner_->Respond(std::move(response));
  }
  void BeginEvents() override {
    Count(200);
    inner_->BeginEvents();
  }
  void SendEvents(std::string text) override { inner_->SendEvents(std::move(text)); }
  void End() override { inner_->End(); }
  bool gone() const override { return inner_->gone(); }

 private:
  // Before the client can see the answer, so that it finds itself in the metrics.
  void Count(int status) {
    if (status_.exchange(status) == 0) context_.metrics.OnResponse(route_, status);
  }

  const ApiContext& context_;
  const std::shared_ptr<Exchange> inner_;
  const std::string route_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::atomic<int> status_{0};
};

}  // namespace

const char* ErrorType(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 429:
      return "rate_limit_error";
    case 404:
      return "not_found_error";
    default:
      return status >= 500 ? "server_error" : "invalid_request_error";
  }
}

Json ErrorJson(const ApiError& error) {
  const auto or_null = [](const std::string& text) { return text.empty() ? Json() : Json(text); };
  return {{"error",
           {{"message", error.what()},
            {"type", ErrorType(error.status)},
            {"param", or_null(error.param)},
            {"code", or_null(error.code)}}}};
}

void RespondJson(Exchange& exchange, const Json& json, int status) {
  HttpResponse response;
  response.status = status;
  response.body = json.dump(-1, ' ', false, Json::error_handler_t::replace);
  exchange.Respond(std::move(response));
}

Json ErrorJsonFor(const HttpRequest& request, const ApiError& error) {
  return request.path.starts_with("/v1/messages") ? AnthropicErrorJson(error) : ErrorJson(error);
}

void RespondError(Exchange& exchange, const ApiError& error) {
  HttpResponse response;
  response.status = error.status;
  response.body =
      ErrorJsonFor(exchange.request(), error).dump(-1, ' ', false, Json::error_handler_t::replace);
  if (error.status == 429 || error.status == 503) response.headers.emplace_back("Retry-After", "2");
  if (error.status == 401) response.headers.emplace_back("WWW-Authenticate", "Bearer");
  exchange.Respond(std::move(response));
}

Api::Api(ApiContext context) : context_(std::move(context)) {}

bool Api::IsAllowed(const HttpRequest& request) const {
  if (context_.api_keys.empty()) return true;
  std::string_view given = request.Header("authorization");
  constexpr std::string_view kBearer = "bearer ";
  std::string scheme(given.substr(0, kBearer.size()));
  for (char& c : scheme) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  given = scheme == kBearer ? given.substr(kBearer.size()) : std::string_view(request.Header("x-api-key"));
  bool allowed = false;
  for (const std::string& key : context_.api_keys) allowed |= EqualInConstantTime(key, given);
  return allowed;
}

void Api::Handle(const std::shared_ptr<Exchange>& exchange) const {
  try {
    Route(exchange);
  } catch (const ApiError& error) {
    RespondError(*exchange, error);
  } catch (const Error& error) {
    RespondError(*exchange, ApiError(error.code() == ErrorCode::kInternal ? 500 : 400, error.what()));
  } catch (const std::exception& error) {
    log::error("{} {}: {}", exchange->request().method, exchange->request().path, error.what());
    RespondError(*exchange, ApiError(500, "the server failed at this request; its log says more"));
  }
}

void Api::Route(const std::shared_ptr<Exchange>& exchange) const {
  const HttpRequest& request = exchange->request();
  const std::string method = request.method == "HEAD" ? "GET" : request.method;
  const Row* found = nullptr;
  std::string methods;
  for (const Row& row : kRows) {
    if (!Matches(row, request.path)) continue;
    methods += (methods.empty() ? "" : ", ") + std::string(row.method);
    if (method == row.method) found = &row;
  }
  const auto logged =
      std::make_shared<LoggedExchange>(context_, exchange, found != nullptr ? found->path : "none");
  try {
    // A page of another site may send requests, though it cannot read the answers. It may link to this server's own page.
    if (found == nullptr || !found->open)
      if (const auto refusal = context_.host_guard.Refusal(request)) throw ApiError(403, *refusal);
    if (methods.empty()) throw ApiError(404, fmt::format("there is no {}", request.path.substr(0, 200)));
    if (found == nullptr) {
      HttpResponse response;
      response.status = 405;
      response.headers.emplace_back("Allow", methods);
      response.body = ErrorJson(ApiError(405, "this path takes " + methods)).dump();
      return logged->Respond(std::move(response));
    }
    if (!found->open && !IsAllowed(request))
      throw ApiError(401, "a key is needed, as Authorization: Bearer KEY", "", "invalid_api_key");
    found->route(context_, logged);
    logged->DropBody();
  } catch (const ApiError& error) {
    RespondError(*logged, error);
  } catch (const Json::exception&) {
    RespondError(*logged, ApiError(400, "a field of the request has another type than this path takes"));
  } catch (const Error& error) {
    RespondError(*logged, ApiError(error.code() == ErrorCode::kInternal ? 500 : 400, error.what()));
  }
}

void Submit(const ApiContext& context, const Generation& generation, const std::shared_ptr<Answer>& answer) {
  std::vector<SequenceRequest> requests;
  for (size_t p = 0; p < generation.prompts.size(); ++p) {
    for (uint32_t i = 0; i < generation.n; ++i) {
      SequenceRequest request;
      request.prompt = generation.prompts[p];
      request.max_tokens = generation.max_tokens;
      request.sampling = generation.sampling;
      request.sampling.seed += i;
      request.ignore_eos = generation.ignore_eos;
      request.top_logprobs = generation.top_logprobs;
      request.prompt_logprobs = generation.prompt_logprobs;
      request.sink =
          std::make_shared<Choice>(answer, p * generation.n + i, context.tokenizer, generation.choice);
      if (generation.grammar != nullptr) {
        // What is forced is the beginning of the answer proper; before other answers there may be a thought.
        const ChoiceOptions& choice = generation.choice;
        std::string mark = choice.format && choice.forced.empty()
                               ? MarkBeforeAnswer(*choice.format, choice.answer.in_thought)
                               : std::string();
        request.filter = std::make_unique<GrammarFilter>(generation.grammar, context.token_table,
                                                         context.tokenizer, std::move(mark));
      }
      request.deadline =
          Clock::now() + std::chrono::milliseconds(static_cast<int64_t>(context.request_seconds * 1000));
      requests.push_back(std::move(request));
    }
  }
  if (context.service.Submit(std::move(requests))) return;
  if (context.service.state() == Service::State::kReady)
    throw ApiError(429, "the server has as many requests as it takes; try again later", "",
                   "rate_limit_exceeded");
  throw ApiError(503, "the server is being stopped and takes no more requests");
}

uint32_t MaxTokens(const ApiContext& context, const Params& params, size_t prompt_tokens, int64_t fallback,
                   int64_t least) {
  const uint32_t capacity = context.service.capacity();
  if (prompt_tokens == 0) throw ApiError(400, "the prompt is empty", "prompt");
  if (prompt_tokens >= capacity)
    throw ApiError(
        400,
        // OpenAI's words, by which LiteLLM and agents tell this error from others.
        fmt::format("this model's maximum context length is {} tokens, and the prompt has {}; shorten it",
                    capacity, prompt_tokens),
        "prompt", "context_length_exceeded");
  const int64_t room = capacity - static_cast<int64_t>(prompt_tokens);
  const char* name = params.Has("max_completion_tokens") ? "max_completion_tokens" : "max_tokens";
  const int64_t wanted = params.Int(name, fallback > 0 ? fallback : room, least, INT32_MAX);
  return static_cast<uint32_t>(std::min(wanted, room));
}

Json UsageJson(uint64_t prompt_tokens, uint64_t cached_tokens, uint64_t generated_tokens) {
  return {{"prompt_tokens", prompt_tokens},
          {"completion_tokens", generated_tokens},
          {"total_tokens", prompt_tokens + generated_tokens},
          {"prompt_tokens_details", {{"cached_tokens", cached_tokens}}}};
}

const char* FinishReasonName(FinishReason reason) {
  return reason == FinishReason::kLength ? "length" : "stop";
}

std::optional<ApiError> ErrorOf(const Finish& finish) {
  switch (finish.reason) {
    case FinishReason::kFailed:
      return ApiError(503, finish.error);
    case FinishReason::kDeadline:
      return ApiError(504, "the request took longer than this server allows");
    default:
      return std::nullopt;
  }
}

int64_t UnixTime() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string NewId(const char* prefix) {
  static thread_local std::mt19937_64 random{std::random_device{}()};
  return fmt::format("{}{:016x}{:08x}", prefix, random(), static_cast<uint32_t>(random()));
}

}  // namespace onecopy::serve
