// The models with goldens of transformers (tests/data/goldens), and how they are run and compared: threads as ranks.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "kernels/registry.h"
#include "runtime/cli/model_session.h"
#include "tests/support/drawn_model.h"
#include "tests/support/golden.h"
#include "tests/support/local_ranks.h"

namespace onecopy::parity {

// Where a model's weights are.
enum class Weights { kStored, kDrawn, kDrawnGguf };

struct Case {
  const char* name;
  std::string folder;     // of the golden, and of a Hugging Face model
  const char* file = "";  // of a GGUF model, in the folder
  uint64_t kv_tokens = 512;
  Weights weights = Weights::kStored;
  bool in_pipelines = true;
  // The prompt in which two groups of experts are so near a tie (1.2e-4) that activations of 8 bits choose otherwise than
  // floats; -1: none.
  int tied_prompt = -1;
  bool cut_anywhere = false;  // EngineOptions: latent attention is absorbed
  std::string model() const {
    static test::DrawnModels drawn;
    return weights == Weights::kStored ? folder + file : drawn.Path(folder, weights == Weights::kDrawnGguf);
  }
};

inline const std::string kGoldens = ONECOPY_TEST_DATA "/goldens/";
inline const std::string kUnpacked = ONECOPY_TEST_MODELS "/";
inline const std::string kDrawnGoldens = ONECOPY_TEST_MODELS "/../drawn/";
// So many that the latents are cut by position (shard/plan.h), also those of one layer in f16 or of two in q8_0.
inline constexpr uint64_t kManyPositions = 220'000;

inline Case Drawn(const char* name, const char* folder, bool in_pipelines = false) {
  return {name, kDrawnGoldens + folder, "", 512, Weights::kDrawn, in_pipelines};
}
inline Case DrawnGguf(const char* name, const char* folder) {
  return {name, kDrawnGoldens + folder, "", 512, Weights::kDrawnGguf, false};
}

inline const Case kCases[] = {
    {"qwen3_moe", kGoldens + "qwen3_moe"},
    {"qwen3_moe_nonorm", kGoldens + "qwen3_moe_nonorm"},
    {"qwen3_moe_Q8_0", kGoldens + "gguf/qwen3_moe-Q8_0", "/model.gguf"},
    {"qwen3_moe_Q4_K_M", kGoldens + "gguf/qwen3_moe-Q4_K_M", "/model.gguf"},
    {"deepseek_v3", kUnpacked + "deepseek_v3"},
    {"deepseek_v3_absorbed", kUnpacked + "deepseek_v3", "", 512, Weights::kStored, false, -1, true},
    {"deepseek_v3_by_position", kUnpacked + "deepseek_v3", "", kManyPositions, Weights::kStored, true, -1,
     true},
    {"kimi_k2", kUnpacked + "kimi_k2"},
    {"gpt_oss_gguf", kUnpacked + "gguf/gpt_oss", "/model.gguf"},
    {"gpt_oss", kUnpacked + "gpt_oss"},
    {"deepseek_v3_fp8", kUnpacked + "deepseek_v3_fp8"},
    {"qwen3_moe_fp8_channel", kUnpacked + "qwen3_moe_fp8_channel"},
    {"qwen3_moe_int4_32", kUnpacked + "qwen3_moe_int4_32"},
    {"qwen3_moe_int4_128", kUnpacked + "qwen3_moe_int4_128"},
    {"qwen3_moe_awq", kUnpacked + "qwen3_moe_awq"},
    {"qwen3_moe_gptq", kUnpacked + "qwen3_moe_gptq"},
    {"qwen3_moe_gptq_act_order", kUnpacked + "qwen3_moe_gptq_act_order"},
    {"qwen3_moe_gptq_8", kUnpacked + "qwen3_moe_gptq_8"},
    {"qwen3_moe_int8_32", kUnpacked + "qwen3_moe_int8_32"},
    Drawn("qwen3_moe_1280", "qwen3_moe_1280"),
    DrawnGguf("qwen3_moe_1280_gguf", "qwen3_moe_1280"),
    Drawn("qwen2_moe", "qwen2_moe"),
    DrawnGguf("qwen2_moe_gguf", "qwen2_moe"),
    Drawn("qwen2_moe_dense_layers", "qwen2_moe_dense"),
    Drawn("qwen2_yarn", "qwen2"),
    DrawnGguf("qwen2_yarn_gguf", "qwen2"),
    Drawn("qwen2_window", "qwen2_window"),
    Drawn("qwen3", "qwen3"),
    DrawnGguf("qwen3_gguf", "qwen3"),
    Drawn("llama3", "llama"),
    DrawnGguf("llama3_gguf", "llama"),
    Drawn("llama2_linear", "llama2"),
    DrawnGguf("llama2_linear_gguf", "llama2"),
    Drawn("mistral_window", "mistral"),
    Drawn("mixtral", "mixtral"),
    DrawnGguf("mixtral_gguf", "mixtral"),
    Drawn("olmoe", "olmoe", true),
    DrawnGguf("olmoe_gguf", "olmoe"),
    Drawn("glm4_moe", "glm4_moe"),
    DrawnGguf("glm4_moe_gguf", "glm4_moe"),
    Drawn("glm4_moe_without_qk_norm", "glm4_moe_air"),
    Drawn("glm4_moe_lite", "glm4_moe_lite"),
    DrawnGguf("glm4_moe_lite_gguf", "glm4_moe_lite"),
    Drawn("dots1", "dots1"),
    DrawnGguf("dots1_gguf", "dots1"),
    Drawn("dots1_window_in_upper_layers", "dots1_window"),
    Drawn("minimax_m2", "minimax_m2"),
    DrawnGguf("minimax_m2_gguf", "minimax_m2"),
    Drawn("granitemoe", "granitemoe", true),
    DrawnGguf("granitemoe_gguf", "granitemoe"),
    Drawn("granitemoeshared", "granitemoeshared"),
    DrawnGguf("granitemoeshared_gguf", "granitemoeshared"),
    Drawn("ernie4_5_moe", "ernie4_5_moe"),
    DrawnGguf("ernie4_5_moe_gguf", "ernie4_5_moe"),
    Drawn("qwen3_next", "qwen3_next", true),
    DrawnGguf("qwen3_next_gguf", "qwen3_next"),
    Drawn("qwen3_5_moe", "qwen3_5_moe", true),
    DrawnGguf("qwen3_5_moe_gguf", "qwen3_5_moe"),
    Drawn("qwen3_5_moe_text", "qwen3_5_moe_text"),
    Drawn("qwen3_5", "qwen3_5"),
    DrawnGguf("qwen3_5_gguf", "qwen3_5"),
    Drawn("llama4_within_a_chunk", "llama4"),
    DrawnGguf("llama4_gguf", "llama4"),
    Drawn("llama4_chunks_without_whole_pages", "llama4_chunk48"),
    Drawn("llama4_chunks_of_pages", "llama4_chunk64", true),
    Drawn("mimo_v2_flash", "mimo_v2_flash", true),
    DrawnGguf("mimo_v2_flash_gguf", "mimo_v2_flash"),
    {"deepseek_v3_Q4_K_M", kUnpacked + "gguf/deepseek_v3-Q4_K_M", "/model.gguf", 512, Weights::kStored, false,
     0},
    {"deepseek_v2_Q4_K_M", kUnpacked + "gguf/deepseek_v2-Q4_K_M", "/model.gguf", 512, Weights::kStored,
     false},
    {"mixtral_Q4_K_M", kUnpacked + "gguf/mixtral-Q4_K_M", "/model.gguf", 512, Weights::kStored, false},
};

using Body = std::function<void(exec::Engine&)>;

// body() with each kernel table that this CPU has.
template <class Body>
void WithEachTable(const Body& body) {
  for (const auto& entry : kernels::AllTables()) {
    if (!entry.supported()) continue;
    SCOPED_TRACE(entry.name);
    setenv("ONECOPY_KERNELS", entry.name, 1);
    body();
  }
}

// body on rank 0 of so many threads as ranks, with three slots. threads: of a rank's team; 0: a rank's share of the cores.
inline void WithModel(const Case& c, int ranks, const Body& body, int pipeline = 0,
                      kernels::KvType kv_type = kernels::KvType::kF16, int threads = 0,
                      bool quick_sums = false) {
  const std::string model = c.model();  // may be written first, once
  test::ExpectNoErrors(test::RunRanks(ranks, [&](comm::Communicator& comm) {
    cli::ModelOptions options;
    options.model = model;
    options.pipeline = pipeline;
    options.kv_type = kv_type;
    options.quick_sums = quick_sums;
    const cli::Seat seat =
        cli::TakeSeat(numa::ReadTopology(), {.threads = threads}, comm.rank_on_host(), comm.ranks_on_host());
    cli::ModelSession session(comm, seat, options,
                              [&](const Checkpoint&, const proto::ModelSpec&, proto::EngineOptions* engine) {
                                engine->set_kv_tokens(c.kv_tokens);
                                engine->set_slots(3);
                                engine->set_cut_anywhere(c.cut_anywhere);
                              });
    if (c.kv_tokens == kManyPositions && ranks > std::max(1, pipeline)) {
      EXPECT_EQ(session.plan().mla_cache(), proto::ShardPlan::BY_POSITION) << c.name;
    }
    session.Run(body);
  }));
}

inline std::vector<const char*> TableNames() {
  std::vector<const char*> names;
  for (const auto& entry : kernels::AllTables()) names.push_back(entry.name);
  return names;
}

inline int32_t Argmax(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

inline std::vector<int32_t> Greedy(exec::Engine& engine, const std::vector<int32_t>& prompt, size_t n) {
  std::vector<int32_t> tokens;
  auto logits = engine.Append(0, 0, prompt);
  while (true) {
    tokens.push_back(Argmax(logits));
    if (tokens.size() == n) break;
    proto::Step step;
    step.add_tokens(tokens.back());
    step.add_slots(0);
    step.add_positions(static_cast<uint32_t>(prompt.size() + tokens.size() - 1));
    step.add_logit_rows(0);
    logits = engine.Forward(step);
  }
  engine.Release(0);
  return tokens;
}

struct Difference {
  double max = 0, mean = 0, kl = 0;  // kl: largest over the rows
};

inline Difference Compare(std::span<const float> got, std::span<const float> want, size_t vocab) {
  Difference d;
  for (size_t row = 0; row < want.size(); row += vocab) {
    double got_sum = 0, want_sum = 0, kl = 0;
    for (size_t i = row; i < row + vocab; ++i) {
      d.max = std::max(d.max, std::fabs(double{got[i]} - want[i]));
      d.mean += std::fabs(double{got[i]} - want[i]) / static_cast<double>(want.size());
      got_sum += std::exp(double{got[i]});
      want_sum += std::exp(double{want[i]});
    }
    for (size_t i = row; i < row + vocab; ++i)
      kl += std::exp(want[i]) / want_sum * ((want[i] - std::log(want_sum)) - (got[i] - std::log(got_sum)));
    d.kl = std::max(d.kl, kl);
  }
  return d;
}

inline const Case& CaseOf(const std::string& name) {
  return *std::find_if(std::begin(kCases), std::end(kCases), [&](const Case& c) { return name == c.name; });
}

}  // namespace onecopy::parity
