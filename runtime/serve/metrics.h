// Metrics of a server in Prometheus' text format. Thread-safe. Names and units follow Prometheus' conventions
// (prometheus.io/docs/practices/naming); README.md lists them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "proto/control.pb.h"
#include "proto/report.pb.h"
#include "runtime/grammar/grammar_cache.h"
#include "runtime/serve/scheduler.h"

namespace onecopy::serve {

class Metrics : public SchedulerObserver {
 public:
  // report: of the loaded model.
  explicit Metrics(const proto::RunReport& report);
  ~Metrics() override;

  void OnStep(size_t prompt_tokens, size_t decoded_tokens, double seconds) override;
  void OnMasks(double seconds) override;
  void OnFirstToken(double seconds_since_added) override;
  void OnNextToken(double seconds_since_last) override;
  void OnMadeWay() override;
  void OnFinish(const Finish& finish, double seconds_since_added) override;

  void OnResponse(const std::string& route, int status);
  void SetLoad(const Scheduler::Load& load, uint64_t pages);
  void SetConnections(size_t n);
  void SetGrammars(const grammar::GrammarCache::Stats& stats);
  // By rank: of the time between two calls.
  void SetRankTimes(const std::vector<proto::RankTimes>& ranks, double seconds);

  // What the page shows of a rank: lately.
  struct RankRates {
    double wait_share = 0, bytes_per_second = 0;
  };
  // Lately, and of all that passed since the last call of SetRankTimes.
  struct Rates {
    double tokens_per_second = 0, prompt_tokens_per_second = 0;
    std::vector<RankRates> ranks;
  };
  Rates rates() const;

  std::string Text() const;

 private:
  struct Families;
  const std::unique_ptr<Families> families_;
};

}  // namespace onecopy::serve
