// onecopy serve: an OpenAI-compatible server. Rank 0 has HTTP, tokenizer and scheduler; the other ranks follow its steps.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <filesystem>
#include <future>
#include <memory>
#include <mutex>
#include <optional>
#include <sstream>

#include "runtime/base/error.h"
#include "runtime/base/file.h"
#include "runtime/base/log.h"
#include "runtime/cli/chat_options.h"
#include "runtime/cli/command.h"
#include "runtime/cli/helper_cpus.h"
#include "runtime/cli/model_options.h"
#include "runtime/cli/model_session.h"
#include "runtime/cli/sampling_options.h"
#include "runtime/cli/stop_signals.h"
#include "runtime/cli/tokenizer_source.h"
#include "runtime/grammar/matcher.h"
#include "runtime/numa/binding.h"
#include "runtime/report/run_report.h"
#include "runtime/serve/api.h"
#include "runtime/serve/engine_runner.h"

namespace onecopy::cli {
namespace {

// Keys and values of so many tokens, over all requests, where --context says nothing.
constexpr uint64_t kDefaultServeTokens = 32768;
// Seconds to send the last answers in when the server ends.
constexpr double kFlushSeconds = 5;

struct ServeOptions {
  ModelOptions model;
  SamplingOptions sampling;
  ChatOptions chat;
  serve::HttpOptions http;
  std::string model_name, api_key_file;
  std::vector<std::string> allow_hosts;
  uint32_t parallel = 32;
  uint32_t queue = 256;
  double request_seconds = 600;
  bool no_prefix_cache = false, no_access_log = false;
};

// What rank 0 prepares before the model is loaded.
struct ServeInput {
  std::optional<text::Tokenizer> tokenizer;
  std::string template_source, model_id;
  nlohmann::ordered_json template_variables;
  text::SamplerOptions sampling;
  std::vector<std::string> api_keys;
};

// One key a line; empty lines and those that begin with # are not keys.
std::vector<std::string> ReadApiKeys(const std::string& path) {
  std::vector<std::string> keys;
  std::istringstream lines(ReadTextFile(path));
  for (std::string line; std::getline(lines, line);) {
    line.erase(line.find_last_not_of(" \t\r") + 1);
    if (!line.empty() && line[0] != '#') keys.push_back(line);
  }
  if (keys.empty()) Fail(ErrorCode::kUsage, "{} has no key; expected one a line", path);
  return keys;
}

std::string NameOfModel(const std::string& path) {
  std::filesystem::path name = std::filesystem::path(path).lexically_normal();
  if (!name.has_filename()) name = name.parent_path();
  return name.extension() == ".gguf" ? name.stem().string() : name.filename().string();
}

ServeInput PrepareServe(const ServeOptions& options, const Checkpoint& checkpoint,
                        const proto::ModelSpec& spec) {
  ServeInput input;
  input.tokenizer = MakeTokenizer(checkpoint);
  input.template_source = ReadChatTemplate(options.chat);
  input.template_variables = ChatVariables(options.chat);
  input.sampling = ResolveSampling(options.sampling, checkpoint);
  // Its errors, before the model is loaded.
  const text::Sampler check(input.sampling, static_cast<int32_t>(spec.vocab_size()));
  input.model_id =
      options.model_name.empty() ? NameOfModel(ResolveModelPath(options.model.model)) : options.model_name;
  if (!options.api_key_file.empty()) input.api_keys = ReadApiKeys(options.api_key_file);
  if (input.template_source.empty() && input.tokenizer->chat_templates().empty())
    log::warn(
        "this model has no chat template: /v1/chat/completions is refused; give one with --chat-template");
  return input;
}

// The server from before the model is loaded, when all but /health is refused, to the last answer.
class Front {
 public:
  void Listen(const serve::HttpOptions& options, const HelperCpus& cpus) {
    // Its threads run where the one runs that makes them.
    const auto listen = [&] {
      if (!cpus.cpus.empty()) numa::LetThreadRunOn(cpus.cpus);
      server_ = std::make_unique<serve::HttpServer>(
          options, [this](const std::shared_ptr<serve::Exchange>& exchange) { Handle(exchange); });
    };
    std::async(std::launch::async, listen).get();
    log::info("listening on {}://{}:{}", options.certificate_file.empty() ? "http" : "https",
              options.host.find(':') == std::string::npos ? options.host : "[" + options.host + "]",
              server_->port());
  }
  void Open(const serve::Api* api) {
    const std::lock_guard lock(mutex_);
    api_ = api;
  }
  serve::HttpServer& server() { return *server_; }
  // Sends what is left to send. After this no request is handled.
  void Close() {
    server_->Flush(kFlushSeconds);
    server_.reset();
  }
  // In an emergency, after which all that the API uses ends: no handler enters it any more, and those in it are waited for,
  // for some time.
  void Leave() {
    std::unique_lock lock(mutex_);
    api_ = nullptr;
    state_ = State::kFailed;
    const bool empty =
        left_.wait_for(lock, std::chrono::duration<double>(kFlushSeconds / 2), [&] { return inside_ == 0; });
    lock.unlock();
    server_->Flush(kFlushSeconds / 2);
    if (empty) return server_.reset();
    // Its end would wait for them.
    [[maybe_unused]] const auto* left = server_.release();
  }

 private:
  enum class State { kLoading, kFailed };

  void Handle(const std::shared_ptr<serve::Exchange>& exchange) {
    std::unique_lock lock(mutex_);
    if (const serve::Api* api = api_) {
      ++inside_;
      lock.unlock();
      api->Handle(exchange);
      lock.lock();
      if (--inside_ == 0) left_.notify_all();
      return;
    }
    const bool loading = state_ == State::kLoading;
    lock.unlock();
    if (exchange->request().path == "/health")
      return serve::RespondJson(*exchange, {{"status", loading ? "loading" : "failed"}}, 503);
    serve::RespondError(*exchange, serve::ApiError(503, loading ? "the model is being loaded"
                                                                : "the server has failed and ends"));
  }

  std::unique_ptr<serve::HttpServer> server_;
  std::mutex mutex_;
  std::condition_variable left_;
  const serve::Api* api_ = nullptr;
  State state_ = State::kLoading;
  int inside_ = 0;  // handlers in api_
};

// With the mask of a string's inside, which costs milliseconds, known before the first request.
std::shared_ptr<const grammar::TokenTable> TableOf(const text::Tokenizer& tokenizer) {
  auto table = std::make_shared<const grammar::TokenTable>(tokenizer);
  grammar::Matcher warm(grammar::Grammar::JsonObject(), table);
  warm.AcceptText("{\"a\": \"x");
  warm.Mask();
  return table;
}

// Without keys a loopback address is all that keeps others out, so that pages under other names must not get in. The address
// that was given may be a name of this machine.
serve::HostGuard GuardOf(const ServeOptions& options, bool only_these) {
  std::vector<std::string> hosts = options.allow_hosts;
  if (only_these || !hosts.empty()) hosts.push_back(options.http.host);
  return serve::HostGuard(std::move(hosts), only_these);
}

void Serve(const ServeOptions& options, const ServeInput& input, ModelSession& session, exec::Engine& engine,
           Front& front) {
  serve::EngineRunner runner(engine, session.team(), session.kernels().has_many());
  serve::Metrics metrics(session.report());
  serve::Service::Options service_options;
  service_options.max_waiting = options.queue;
  service_options.scheduler.max_sequences = options.parallel;
  service_options.scheduler.keep_prompts = !options.no_prefix_cache;
  serve::Service service(runner, input.tokenizer->end_of_generation(), service_options, metrics,
                         [&](double seconds) {
                           metrics.SetRankTimes(engine.GatherTimes(), seconds);
                           metrics.SetConnections(front.server().connections());
                         });
  jinja::Renderer renderer;
  grammar::GrammarCache grammars;
  const serve::Api api({service, metrics, *input.tokenizer, TableOf(*input.tokenizer), grammars, renderer,
                        engine.spec(), session.report(), input.model_id, input.template_source,
                        input.template_variables, input.sampling, input.api_keys,
                        GuardOf(options, front.server().on_loopback() && input.api_keys.empty()),
                        options.request_seconds, std::min(options.parallel, 16u), !options.no_access_log});
  front.Open(&api);
  log::info("ready: {} with room for {} tokens, {} requests at once", input.model_id,
            service.pages() * service.page_tokens(), options.parallel);
  const StopSignals signals([&](int times) {
    if (times == 1) {
      const serve::Scheduler::Load load = service.load();
      log::info("stopping when {} running and {} waiting requests are done; a second signal ends them",
                load.running, load.waiting);
      service.Drain();
    } else {
      service.Stop();
    }
  });
  try {
    service.Run();
  } catch (...) {
    front.Leave();
    throw;
  }
  front.Close();
}

void AddServeOptions(CLI::App* app, ServeOptions* options) {
  constexpr const char* kGroup = "Server";
  const auto add = [&](const char* name, auto* value, const char* help) {
    return app->add_option(name, *value, help)->group(kGroup);
  };
  add("--host", &options->http.host, "address to listen on; 0.0.0.0 or :: for all")->capture_default_str();
  add("--port", &options->http.port, "port to listen on; 0: any that is free")->capture_default_str();
  add("--api-key-file", &options->api_key_file, "keys, one a line, of which requests need one")
      ->check(CLI::ExistingFile);
  add("--allow-host", &options->allow_hosts,
      "names and addresses by which clients may call the server (Host), beside localhost; * is any; default: "
      "any, but with "
      "a loopback --host and no keys only those of this machine, so that no page of a browser can use "
      "another name for it")
      ->delimiter(',');
  auto* certificate = add("--tls-cert", &options->http.certificate_file, "certificate chain (PEM), for https")
                          ->check(CLI::ExistingFile);
  auto* key = add("--tls-key", &options->http.key_file, "its key (PEM)")->check(CLI::ExistingFile);
  certificate->needs(key);
  key->needs(certificate);
  add("--model-name", &options->model_name, "what the API calls the model (default: the name of its file)");
  add("--parallel", &options->parallel, "requests that are computed at once; more wait")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  add("--queue", &options->queue, "requests that may wait; more are refused with status 429")
      ->capture_default_str()
      ->check(CLI::Range(0, 100000));
  add("--max-body", &options->http.body_bytes, "bytes of a request")
      ->capture_default_str()
      ->transform(CLI::AsSizeValue(false));
  add("--max-connections", &options->http.connections, "open connections; more are closed at once")
      ->capture_default_str();
  add("--header-timeout", &options->http.header_seconds, "seconds in which a request's header has to arrive")
      ->capture_default_str();
  add("--body-timeout", &options->http.body_seconds, "seconds in which its body has to arrive")
      ->capture_default_str();
  add("--timeout", &options->request_seconds, "seconds that a request may take, waiting included")
      ->capture_default_str()
      ->check(CLI::Range(0.1, 1e6));
  app->add_flag("--no-prefix-cache", options->no_prefix_cache, "compute every prompt from its beginning")
      ->group(kGroup);
  app->add_flag("--no-access-log", options->no_access_log, "no line for each request")->group(kGroup);
}

}  // namespace

Command ServeCommand() {
  auto options = std::make_shared<ServeOptions>();
  Command command;
  command.name = "serve";
  command.summary = "An OpenAI-compatible HTTP server";
  command.examples =
      "  onecopy serve -m model.gguf --port 8080\n"
      "  onecopy serve -m model.gguf --host 0.0.0.0 --api-key-file keys.txt --context 131072 --parallel 64\n"
      "  curl http://127.0.0.1:8080/v1/chat/completions -H 'Content-Type: application/json'\\\n"
      "    -d '{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}'\n";
  command.add_options = [options](CLI::App* app) {
    AddModelOptions(app, &options->model);
    AddSamplingOptions(app, &options->sampling);
    AddChatOptions(app, &options->chat);
    AddServeOptions(app, options.get());
  };
  command.run = [options](comm::Communicator& comm, const Seat& seat) {
    if (comm.rank() != 0) StopSignals::Ignore();
    ServeInput input;
    Front front;
    ModelSession session(
        comm, seat, options->model,
        [&](const Checkpoint& checkpoint, const proto::ModelSpec& spec, proto::EngineOptions* engine) {
          input = PrepareServe(*options, checkpoint, spec);
          engine->set_kv_tokens(
              options->model.context > 0
                  ? options->model.context
                  : std::min(kDefaultServeTokens, spec.context_length() * uint64_t{options->parallel}));
          engine->set_cut_anywhere(true);
          engine->set_reserve(true);
          // As many again for prompts that are kept; with linear attention, whose states are large, none are.
          engine->set_slots(spec.linear_layers().empty() ? 2 * options->parallel : options->parallel);
          // One thread for all connections, beside the handlers'.
          const HelperCpus cpus =
              FindHelperCpus(seat.topology, seat.wish, seat.ranks_on_host, options->http.handler_threads + 1);
          front.Listen(options->http, cpus);
          log::info("HTTP threads run {}", Describe(cpus));
        });
    session.Run([&](exec::Engine& engine) {
      std::fputs(report::ReportTable(session.report()).c_str(), stderr);
      Serve(*options, input, session, engine, front);
    });
  };
  return command;
}

}  // namespace onecopy::cli
