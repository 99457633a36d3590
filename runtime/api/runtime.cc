#include "runtime/api/runtime.h"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <optional>

#include "runtime/base/error.h"
#include "runtime/base/log.h"
#include "runtime/cli/generation.h"
#include "runtime/cli/model_session.h"
#include "runtime/cli/rank.h"
#include "runtime/cli/tokenizer_source.h"
#include "runtime/report/run_report.h"
#include "runtime/text/sampler.h"

namespace onecopy::api {
namespace {

// NOLINTNEXTLINE(cppcoreguidelines-virtual-class-destructor): nothing derives from it
class LoadedModel final : public Model {
 public:
  LoadedModel(exec::Engine& engine, const text::Tokenizer* tokenizer)
      : engine_(engine), tokenizer_(tokenizer) {}

  uint32_t vocab_size() const override { return engine_.spec().vocab_size(); }
  std::vector<int32_t> Encode(const std::string& text) const override {
    return RequireTokenizer().Encode(text, {});
  }
  std::string Decode(std::span<const int32_t> tokens) const override {
    return RequireTokenizer().Decode(tokens, /*skip_special=*/true);
  }
  bool IsEnd(int32_t token) const override {
    return tokenizer_ != nullptr && tokenizer_->IsEndOfGeneration(token);
  }

  void Generate(std::span<const int32_t> prompt, uint32_t n, const Sampling& sampling,
                const std::function<bool(int32_t)>& accept) override {
    if (prompt.empty()) Fail(ErrorCode::kUsage, "Generate: the prompt is empty; give at least one token");
    text::SamplerOptions options;
    options.temperature = sampling.temperature;
    options.top_k = sampling.top_k;
    options.top_p = sampling.top_p;
    options.min_p = sampling.min_p;
    options.repetition_penalty = sampling.repeat_penalty;
    options.seed = sampling.seed;
    text::Sampler sampler(options, static_cast<int32_t>(vocab_size()));
    engine_.Release(0);
    cli::Generation(engine_, sampler, cli::DraftLength::Always(0)).Run(prompt, n, accept);
  }
  std::span<const float> Append(uint32_t slot, uint32_t position, std::span<const int32_t> tokens,
                                uint32_t num_logits) override {
    return engine_.Append(slot, position, tokens, num_logits);
  }
  void Release(uint32_t slot) override { engine_.Release(slot); }

 private:
  const text::Tokenizer& RequireTokenizer() const {
    if (tokenizer_ == nullptr)
      Fail(ErrorCode::kBadInput, "this model's tokenizer is not supported: only token ids can be used");
    return *tokenizer_;
  }

  exec::Engine& engine_;
  const text::Tokenizer* tokenizer_;
};

}  // namespace

int Run(const Options& options, const std::function<void(Model&)>& body) {
  log::Init(0, 1, false);
  std::exception_ptr thrown;
  cli::ModelOptions model;
  model.model = options.model;
  const int code = cli::RunAsRank({}, [&](comm::Communicator& comm, const cli::Seat& seat) {
    std::optional<text::Tokenizer> tokenizer;
    cli::ModelSession session(
        comm, seat, model,
        [&](const Checkpoint& checkpoint, const proto::ModelSpec& spec, proto::EngineOptions* engine) {
          try {
            tokenizer = cli::MakeTokenizer(checkpoint);
          } catch (const Error& e) {
            log::warn("{}; only token ids can be used", e.what());
          }
          engine->set_slots(std::max(1u, options.sequences));
          engine->set_kv_tokens(engine->slots() == 1 ? std::min(options.context, spec.context_length())
                                                     : options.context);
        });
    session.Run([&](exec::Engine& engine) {
      if (options.show_place) std::fputs(report::ReportTable(session.report()).c_str(), stderr);
      LoadedModel loaded(engine, tokenizer ? &*tokenizer : nullptr);
      try {
        body(loaded);
      } catch (const Error&) {
        throw;  // becomes the exit code
      } catch (...) {
        thrown = std::current_exception();  // until the other ranks have been let go
      }
    });
  });
  if (thrown) std::rethrow_exception(thrown);
  return code;
}

}  // namespace onecopy::api
