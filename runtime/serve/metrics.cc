#include "runtime/serve/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <mutex>

namespace onecopy::serve {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;

// Seconds. From a small model's step to a long prompt on a slow machine.
const Histogram::BucketBoundaries kTokenSeconds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                   0.1,   0.25,   0.5,   1,    2.5,   5};
const Histogram::BucketBoundaries kRequestSeconds = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1,   2.5,
                                                     5,    10,    25,   50,  100,  250, 500, 1000};

const char* ReasonName(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kDeadline:
      return "deadline";
    case FinishReason::kFailed:
      return "failed";
  }
  return "unknown";
}

}  // namespace

struct Metrics::Families {
  prometheus::Registry registry;
  Family<Counter>& MakeCounter(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry);
  }
  Family<Gauge>& MakeGauge(const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
  }
  Family<Histogram>& MakeHistogram(const char* name, const char* help) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
  }
  Family<Counter>& tokens =
      MakeCounter("onecopy_tokens_total",
                  "Tokens by kind: prompt (computed), cached (of prompts, not computed again), generated");
  Counter& prompt_tokens = tokens.Add({{"kind", "prompt"}});
  Counter& cached_tokens = tokens.Add({{"kind", "cached"}});
  Counter& generated_tokens = tokens.Add({{"kind", "generated"}});
  Family<Counter>& sequences = MakeCounter("onecopy_sequences_total", "Sequences that ended, by reason");
  Family<Counter>& responses =
      MakeCounter("onecopy_http_responses_total", "HTTP responses by route and status");
  Counter& made_way = MakeCounter("onecopy_preemptions_total",
                                  "Sequences that made way for others because the KV cache was full")
                          .Add({});
  Family<Counter>& step_seconds = MakeCounter("onecopy_step_seconds_total", "Time in steps, by kind");
  Counter& prefill_seconds = step_seconds.Add({{"kind", "prefill"}});
  Counter& decode_seconds = step_seconds.Add({{"kind", "decode"}});
  Counter& mixed_seconds = step_seconds.Add({{"kind", "mixed"}});  // both in one step
  Counter& mask_seconds =
      MakeCounter("onecopy_mask_seconds_total",
                  "Time of steps in which grammars and schemas decided what may come next")
          .Add({});
  Family<Counter>& grammars =
      MakeCounter("onecopy_grammars_total", "Grammars and schemas of requests, by where they came from");
  Counter& grammars_found = grammars.Add({{"from", "cache"}});
  Counter& grammars_compiled = grammars.Add({{"from", "compiler"}});
  Gauge& grammar_bytes = MakeGauge("onecopy_grammar_cache_bytes", "Compiled grammars that are kept").Add({});
  Histogram& first_token =
      MakeHistogram("onecopy_time_to_first_token_seconds", "From a request's arrival to its first token")
          .Add({}, kRequestSeconds);
  Histogram& next_token =
      MakeHistogram("onecopy_time_between_tokens_seconds", "Between two tokens of a sequence")
          .Add({}, kTokenSeconds);
  Histogram& request_seconds = MakeHistogram("onecopy_request_seconds", "From a request's arrival to its end")
                                   .Add({}, kRequestSeconds);
  Family<Gauge>& load = MakeGauge("onecopy_sequences", "Sequences at the moment, by state");
  Gauge& running = load.Add({{"state", "running"}});
  Gauge& waiting = load.Add({{"state", "waiting"}});
  Family<Gauge>& pages = MakeGauge("onecopy_kv_pages", "Pages of the KV cache, by use");
  Gauge& pages_in_use = pages.Add({{"use", "running"}});
  Gauge& pages_kept = pages.Add({{"use", "kept"}});
  Gauge& pages_free = pages.Add({{"use", "free"}});
  Gauge& connections = MakeGauge("onecopy_http_connections", "Open connections").Add({});
  Family<Gauge>& rank_bytes =
      MakeGauge("onecopy_rank_bytes", "Memory of a rank, by kind: weights, replicated, kv, state");
  Family<Gauge>& rank_wait = MakeGauge(
      "onecopy_rank_wait_ratio", "Share of a rank's step time in which it waits for other ranks, lately");
  Family<Gauge>& rank_bandwidth =
      MakeGauge("onecopy_rank_read_bytes_per_second", "Weights, keys and values that a rank reads, lately");
  Gauge& copies = MakeGauge("onecopy_copies_in_memory", "Copies of the model in memory").Add({});

  struct Rank {
    Gauge* wait;
    Gauge* bandwidth;
    proto::RankTimes last;
  };
  mutable std::mutex mutex;  // of what follows
  std::vector<Rank> ranks;
  double tokens_before = 0, prompt_tokens_before = 0;
  Rates rates;
};

Metrics::Metrics(const proto::RunReport& report) : families_(std::make_unique<Families>()) {
  Families& f = *families_;
  f.copies.Set(report.copies_in_memory());
  for (const proto::RankReport& rank : report.ranks()) {
    const prometheus::Labels labels = {
        {"rank", std::to_string(rank.rank())}, {"host", rank.host()}, {"node", std::to_string(rank.node())}};
    const auto set = [&](const char* kind, uint64_t bytes) {
      prometheus::Labels with = labels;
      with["kind"] = kind;
      f.rank_bytes.Add(with).Set(static_cast<double>(bytes));
    };
    set("weights", rank.weight_bytes());
    set("replicated", rank.replicated_bytes());
    set("kv", rank.kv_bytes());
    set("state", rank.state_bytes());
    f.ranks.push_back({&f.rank_wait.Add(labels), &f.rank_bandwidth.Add(labels), {}});
  }
  f.rates.ranks.resize(f.ranks.size());
}

Metrics::~Metrics() = default;

void Metrics::OnStep(size_t prompt_tokens, size_t decoded_tokens, double seconds) {
  families_->prompt_tokens.Increment(static_cast<double>(prompt_tokens));
  Counter& kind = prompt_tokens == 0    ? families_->decode_seconds
                  : decoded_tokens == 0 ? families_->prefill_seconds
                                        : families_->mixed_seconds;
  kind.Increment(seconds);
}
void Metrics::OnMasks(double seconds) {
  families_->mask_seconds.Increment(seconds);
}
void Metrics::OnFirstToken(double seconds) {
  families_->first_token.Observe(seconds);
  families_->generated_tokens.Increment();
}
void Metrics::OnNextToken(double seconds) {
  families_->next_token.Observe(seconds);
  families_->generated_tokens.Increment();
}
void Metrics::OnMadeWay() {
  families_->made_way.Increment();
}
void Metrics::OnFinish(const Finish& finish, double seconds) {
  families_->sequences.Add({{"reason", ReasonName(finish.reason)}}).Increment();
  families_->cached_tokens.Increment(finish.cached_tokens);
  families_->request_seconds.Observe(seconds);
}
void Metrics::OnResponse(const std::string& route, int status) {
  families_->responses.Add({{"route", route}, {"status", std::to_string(status)}}).Increment();
}
void Metrics::SetLoad(const Scheduler::Load& load, uint64_t pages) {
  families_->running.Set(static_cast<double>(load.running));
  families_->waiting.Set(static_cast<double>(load.waiting));
  families_->pages_in_use.Set(static_cast<double>(load.pages_in_use - load.pages_kept));
  families_->pages_kept.Set(static_cast<double>(load.pages_kept));
  families_->pages_free.Set(static_cast<double>(pages - load.pages_in_use));
}
void Metrics::SetConnections(size_t n) {
  families_->connections.Set(static_cast<double>(n));
}

void Metrics::SetGrammars(const grammar::GrammarCache::Stats& stats) {
  const std::lock_guard lock(families_->mutex);
  const auto raise = [](Counter& counter, uint64_t to) {
    counter.Increment(std::max(0.0, static_cast<double>(to) - counter.Value()));
  };
  raise(families_->grammars_found, stats.found);
  raise(families_->grammars_compiled, stats.compiled);
  families_->grammar_bytes.Set(static_cast<double>(stats.bytes));
}

void Metrics::SetRankTimes(const std::vector<proto::RankTimes>& ranks, double seconds) {
  Families& f = *families_;
  const std::lock_guard lock(f.mutex);
  for (size_t r = 0; r < ranks.size() && r < f.ranks.size(); ++r) {
    const proto::RankTimes& last = f.ranks[r].last;
    const double steps = ranks[r].step_seconds() - last.step_seconds();
    const double waits = ranks[r].wait_seconds() - last.wait_seconds();
    RankRates& rates = f.rates.ranks[r];
    rates.wait_share = steps > 0 ? waits / steps : 0;
    rates.bytes_per_second =
        seconds > 0 ? static_cast<double>(ranks[r].bytes_read() - last.bytes_read()) / seconds : 0;
    f.ranks[r].wait->Set(rates.wait_share);
    f.ranks[r].bandwidth->Set(rates.bytes_per_second);
    f.ranks[r].last = ranks[r];
  }
  const double tokens = f.generated_tokens.Value(), prompt = f.prompt_tokens.Value();
  if (seconds > 0) {
    f.rates.tokens_per_second = (tokens - f.tokens_before) / seconds;
    f.rates.prompt_tokens_per_second = (prompt - f.prompt_tokens_before) / seconds;
  }
  f.tokens_before = tokens;
  f.prompt_tokens_before = prompt;
}

Metrics::Rates Metrics::rates() const {
  const std::lock_guard lock(families_->mutex);
  return families_->rates;
}

std::string Metrics::Text() const {
  return prometheus::TextSerializer().Serialize(families_->registry.Collect());
}

}  // namespace onecopy::serve
