#include "tests/fuzz/api_context.h"

#include <spdlog/spdlog.h>

#include "runtime/serve/service.h"
#include "tests/fuzz/vocabularies.h"

namespace onecopy::fuzz {
namespace {

using namespace serve;  // NOLINT

constexpr StepEngine::Limits kLimits = {.slots = 16,
                                        .pages = 128,
                                        .page_tokens = 16,
                                        .context = 4096,
                                        .chunk_tokens = 256,
                                        .vocab = 280,
                                        .forward_only = false,
                                        .fixed_chunks = false};

// The next token follows from the last ones. Steps must keep to the limits.
class Engine : public StepEngine {
 public:
  std::span<const float> Forward(const proto::Step& step) override {
    Require(step.tokens_size() > 0 && step.tokens_size() == step.slots_size() &&
                step.tokens_size() == step.positions_size(),
            "a step without form");
    Require(step.prompt_tokens() <= kLimits.chunk_tokens, "a step too long");
    for (int t = 0; t < step.tokens_size(); ++t) {
      Require(step.slots(t) < kLimits.slots && step.positions(t) < kLimits.context, "a step out of bounds");
      Require(step.tokens(t) >= 0 && step.tokens(t) < static_cast<int32_t>(kLimits.vocab), "token {}",
              step.tokens(t));
      uint32_t& length = lengths_[step.slots(t)];
      Require(step.positions(t) == length, "position {} where {} is next", step.positions(t), length);
      ++length;
    }
    logits_.assign(static_cast<size_t>(step.logit_rows_size()) * kLimits.vocab, 0.0f);
    for (int r = 0; r < step.logit_rows_size(); ++r) {
      const auto row = static_cast<int>(step.logit_rows(r));
      Require(row < step.tokens_size(), "logits of no token");
      const uint32_t hash =
          (static_cast<uint32_t>(step.tokens(row)) * 31 + step.positions(row)) * 2654435761u >> 8;
      logits_[static_cast<size_t>(r) * kLimits.vocab + hash % kLimits.vocab] = 9;
    }
    return logits_;
  }
  void Release(uint32_t slot) override { lengths_.at(slot) = 0; }
  void SharePrefix(uint32_t from, uint32_t to, uint32_t tokens) override {
    Require(tokens % kLimits.page_tokens == 0 && tokens <= lengths_.at(from) && lengths_.at(to) == 0,
            "a share too large");
    lengths_.at(to) = tokens;
  }
  uint64_t free_pages() const override {
    uint64_t used = 0;  // shared ones count twice here
    for (const uint32_t length : lengths_) used += (length + kLimits.page_tokens - 1) / kLimits.page_tokens;
    return used < kLimits.pages ? kLimits.pages - used : 0;
  }
  void ForEach(size_t n, const std::function<void(size_t)>& body) override {
    for (size_t i = 0; i < n; ++i) body(i);
  }
  Limits limits() const override { return kLimits; }

 private:
  std::array<uint32_t, kLimits.slots> lengths_ = {};
  std::vector<float> logits_;
};

class Recorder : public Exchange {
 public:
  Recorder(HttpRequest request, Answered* answered) : request_(std::move(request)), answered_(*answered) {}
  const HttpRequest& request() const override { return request_; }
  void DropBody() override { request_.body.clear(); }
  void Respond(HttpResponse response) override {
    ++answered_.responses;
    answered_.response = std::move(response);
  }
  void BeginEvents() override {
    ++answered_.responses;
    answered_.is_stream = true;
  }
  void SendEvents(std::string text) override {
    Require(answered_.is_stream && !answered_.ended, "events outside of a stream");
    answered_.events += text;
  }
  void End() override { answered_.ended = true; }
  bool gone() const override { return false; }

 private:
  HttpRequest request_;
  Answered& answered_;
};

// Texts that show the formats of calls (runtime/text/answer/answer_format.cc); nobody renders them.
constexpr const char* kTemplates[] = {"plain",
                                      "<|channel|><|message|>",
                                      "<minimax:tool_call><think></think>",
                                      "｜DSML｜",
                                      "<seed:tool_call><seed:think></seed:think>",
                                      "<|tool_calls_section_begin|>",
                                      "<｜tool▁calls▁begin｜>```json<think></think>",
                                      "<arg_key><arg_value><think></think>",
                                      "<function=<parameter=",
                                      "[TOOL_CALLS][ARGS]",
                                      "<|tool_call|>",
                                      "<tool_call><think></think>",
                                      "<|python_tag|>"};

struct World {
  World() {
    spec.set_vocab_size(kLimits.vocab);
    spec.set_context_length(kLimits.context);
    nlohmann::json metadata =
        ByteLevelMetadata("gpt-2", {"t h", "th e"}, {"<|im_start|>", "<|im_end|>", "<tool_call>"});
    metadata["tokenizer.ggml.eos_token_id"] = 259;
    tokenizer.emplace(text::Tokenizer::FromGguf(metadata));
    table = std::make_shared<const grammar::TokenTable>(*tokenizer);
    metrics.emplace(report);
  }
  proto::ModelSpec spec;
  proto::RunReport report;
  std::optional<text::Tokenizer> tokenizer;
  std::shared_ptr<const grammar::TokenTable> table;
  jinja::Renderer renderer{ONECOPY_FUZZ_RENDERER};
  std::optional<Metrics> metrics;
};

}  // namespace

Answered Handle(HttpRequest request, size_t template_number) {
  static World world;
  Engine engine;
  Service::Options options;
  options.scheduler.max_sequences = 8;
  options.max_waiting = 64;
  Service service(engine, world.tokenizer->end_of_generation(), options, *world.metrics, [](double) {});
  grammar::GrammarCache grammars;
  const Api api({.service = service,
                 .metrics = *world.metrics,
                 .tokenizer = *world.tokenizer,
                 .token_table = world.table,
                 .grammars = grammars,
                 .renderer = world.renderer,
                 .spec = world.spec,
                 .report = world.report,
                 .model_id = "fuzz",
                 .template_source = kTemplates[template_number % std::size(kTemplates)],
                 .template_variables = nullptr,
                 .sampling = {},
                 .api_keys = {},
                 .access_log = false});
  Answered answered;
  api.Handle(std::make_shared<Recorder>(std::move(request), &answered));
  service.Drain();
  service.Run();
  return answered;
}

}  // namespace onecopy::fuzz
