// What the server says of itself.
#include "runtime/serve/api.h"

namespace onecopy::serve {
namespace {

Json ModelJson(const ApiContext& context) {
  return {{"id", context.model_id},
          {"object", "model"},
          {"created", UnixTime() - std::chrono::duration_cast<std::chrono::seconds>(
                                       std::chrono::steady_clock::now() - context.start)
                                       .count()},
          {"owned_by", "onecopy"},
          {"max_model_len", context.service.capacity()}};
}

const char* StateName(Service::State state) {
  switch (state) {
    case Service::State::kReady:
      return "ready";
    case Service::State::kDraining:
      return "draining";
    case Service::State::kFailed:
      return "failed";
  }
  return "unknown";
}

}  // namespace

void Models(const ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  RespondJson(*exchange, {{"object", "list"}, {"data", Json::array({ModelJson(context)})}});
}

void Model(const ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  const std::string id = exchange->request().path.substr(std::string("/v1/models/").size());
  if (id != context.model_id)
    throw ApiError(404, fmt::format("there is no model {}, only {}", id.substr(0, 200), context.model_id),
                   "model", "model_not_found");
  RespondJson(*exchange, ModelJson(context));
}

void Health(const ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  const Service::State state = context.service.state();
  RespondJson(*exchange, {{"status", StateName(state)}}, state == Service::State::kReady ? 200 : 503);
}

void MetricsText(const ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  HttpResponse response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  context.metrics.SetGrammars(context.grammars.stats());
  response.body = context.metrics.Text();
  exchange->Respond(std::move(response));
}

void Machine(const ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  const Scheduler::Load load = context.service.load();
  Metrics::Rates rates = context.metrics.rates();
  if (load.running == 0) {  // what is said of the last second may be long ago
    rates.tokens_per_second = rates.prompt_tokens_per_second = 0;
    for (Metrics::RankRates& rank : rates.ranks) rank = {};
  }
  const uint64_t page = context.service.page_tokens();
  Json json = {{"model", context.model_id},
               {"kernels", context.report.kernels()},
               {"kv_type", context.report.kv_type()},
               {"state", StateName(context.service.state())},
               {"copies_in_memory", context.report.copies_in_memory()},
               {"weight_bytes", context.report.weight_bytes()},
               {"uptime_seconds", std::chrono::duration_cast<std::chrono::seconds>(
                                      std::chrono::steady_clock::now() - context.start)
                                      .count()},
               {"tokens_per_second", rates.tokens_per_second},
               {"prompt_tokens_per_second", rates.prompt_tokens_per_second},
               {"running", load.running},
               {"waiting", load.waiting},
               {"kv_tokens", context.service.pages() * page},
               {"kv_tokens_used", load.pages_in_use * page},
               {"cached_tokens", load.pages_kept * page},
               {"ranks", Json::array()}};
  for (const proto::RankReport& rank : context.report.ranks()) {
    const Metrics::RankRates lately =
        rank.rank() < rates.ranks.size() ? rates.ranks[rank.rank()] : Metrics::RankRates();
    json["ranks"].push_back({{"rank", rank.rank()},
                             {"host", rank.host()},
                             {"node", rank.node()},
                             {"threads", rank.threads()},
                             {"weight_bytes", rank.weight_bytes()},
                             {"replicated_bytes", rank.replicated_bytes()},
                             {"kv_bytes", rank.kv_bytes()},
                             {"state_bytes", rank.state_bytes()},
                             {"pages_on_node", rank.pages_on_node()},
                             {"wait_share", lately.wait_share},
                             {"bytes_per_second", lately.bytes_per_second}});
  }
  RespondJson(*exchange, json);
}

void Embeddings(const ApiContext& context, const std::shared_ptr<Exchange>&) {
  throw ApiError(400, fmt::format("the model {} has no embeddings: it continues texts", context.model_id),
                 "model");
}

}  // namespace onecopy::serve
