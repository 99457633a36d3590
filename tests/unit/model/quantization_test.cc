// quantization_config as published models have it, what is refused, and which tensors make up a matrix.

#include "runtime/model/quantization.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/model/quantized_tensors.h"
#include "tests/unit/model/spec_test_support.h"

namespace onecopy {
namespace {

using namespace onecopy::testing;
using kernels::WeightType;
using nlohmann::json;
using proto::Weight;
using Method = Quantization::Method;

Quantization Read(const json& quantization) {
  std::vector<std::string> problems;
  Quantization q = ReadQuantization({{"quantization_config", quantization}}, &problems);
  EXPECT_THAT(problems, ::testing::IsEmpty());
  return q;
}

// As DeepSeek-V3, Kimi-K2-Thinking, GLM-4.5-FP8 and AWQ and GPTQ models of Qwen3 are published, less what is not read.
const json kDeepseek = json::parse(R"({"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
    "weight_block_size": [128, 128]})");
const json kKimi =
    json::parse(R"({"config_groups": {"group_0": {"input_activations": null, "output_activations": null,
    "targets": ["Linear"], "weights": {"actorder": null, "block_structure": null, "dynamic": false, "group_size": 32,
    "num_bits": 4, "observer": "minmax", "observer_kwargs": {}, "strategy": "group", "symmetric": true, "type": "int"}}},
    "format": "pack-quantized", "ignore": ["lm_head", "re:.*self_attn.*", "re:.*shared_experts.*"],
    "kv_cache_scheme": null, "quant_method": "compressed-tensors", "quantization_status": "compressed"})");
const json kGlm =
    json::parse(R"({"config_groups": {"group_0": {"input_activations": {"dynamic": true, "num_bits": 8,
    "strategy": "token", "symmetric": true, "type": "float"}, "output_activations": null, "targets": ["Linear"],
    "weights": {"block_structure": null, "dynamic": false, "group_size": null, "num_bits": 8, "strategy": "channel",
    "symmetric": true, "type": "float"}}}, "format": "float-quantized", "ignore": ["lm_head"],
    "quant_method": "compressed-tensors"})");
const json kAwq = json::parse(R"({"bits": 4, "group_size": 128, "modules_to_not_convert": ["gate"],
    "quant_method": "awq", "version": "gemm", "zero_point": true})");
const json kGptq =
    json::parse(R"({"bits": 4, "damp_percent": 0.01, "desc_act": false, "group_size": 128, "lm_head": false,
    "quant_method": "gptq", "sym": true, "checkpoint_format": "gptq"})");

TEST(Quantization, PublishedConfigsAreRead) {
  const Quantization deepseek = Read(kDeepseek), kimi = Read(kKimi), glm = Read(kGlm), awq = Read(kAwq),
                     gptq = Read(kGptq);
  EXPECT_EQ(deepseek.method, Method::kF8);
  EXPECT_EQ(deepseek.block_rows, 128u);
  EXPECT_EQ(deepseek.block_cols, 128u);
  EXPECT_EQ(kimi.method, Method::kPacked);
  EXPECT_EQ(kimi.block_cols, 32u);
  EXPECT_TRUE(kimi.symmetric);
  EXPECT_EQ(glm.method, Method::kF8);
  EXPECT_EQ(glm.block_rows, 1u);
  EXPECT_EQ(glm.block_cols, 0u);
  EXPECT_EQ(awq.method, Method::kAwq);
  EXPECT_EQ(awq.block_cols, 128u);
  EXPECT_FALSE(awq.symmetric);
  EXPECT_EQ(gptq.method, Method::kGptq);
  EXPECT_EQ(gptq.zero_offset, 1u);
  EXPECT_EQ(Read(json()).method, Method::kNone);
}

json With(json config, const std::string& pointer, const json& value) {
  config[json::json_pointer(pointer)] = value;
  return config;
}

TEST(Quantization, WhatIsNotSupportedIsNamedWithWhatIs) {
  const std::string weights = "/config_groups/group_0/weights/";
  const std::tuple<json, std::vector<std::string>> cases[] = {
      {{{"quant_method", "bitsandbytes"}}, {"quant_method: bitsandbytes", "expected awq", "GGUF"}},
      {{{"bits", 4}}, {"quant_method: none"}},
      {json("fp8"), {"quant_method: none"}},
      {With(kDeepseek, "/fmt", "e5m2"), {"fmt: expected \"e4m3\", found \"e5m2\""}},
      {With(kDeepseek, "/weight_block_size", {128}), {"weight_block_size: expected two numbers"}},
      {With(kDeepseek, "/weight_block_size", {128, 100}), {"expected a multiple of 32, found 100"}},
      {With(kKimi, weights + "num_bits", 3), {"num_bits: expected 4 or 8, found 3"}},
      {With(kKimi, weights + "actorder", "rows"), {"actorder", "found \"rows\""}},
      {With(kKimi, weights + "group_size", 48), {"group_size: expected a multiple of 32, found 48"}},
      {With(kKimi, "/transform_config", {{"config_groups", {{"u", {{"type", "hadamard"}}}}}}),
       {"transform_config: weights that are rotated"}},
      {With(kKimi, "/format", "marlin-24"), {"format", "found \"marlin-24\""}},
      {With(kKimi, "/format", "float-quantized"), {"format: float-quantized of 4 int bits"}},
      {With(kKimi, "/config_groups", nullptr), {"config_groups: is missing"}},
      {With(kKimi, "/config_groups/group_1", {{"weights", {{"num_bits", 8}}}}),
       {"groups of different weights"}},
      {With(kGlm, weights + "strategy", "group"), {"strategy", "found \"group\""}},
      {With(kAwq, "/bits", 8), {"bits: expected 4, found 8"}},
      {With(kAwq, "/version", "gemv"), {"version", "found \"gemv\""}},
      {With(kGptq, "/bits", 3), {"bits: expected 4 or 8, found 3"}},
      {With(kGptq, "/desc_act", "yes"), {"desc_act: expected false or true"}},
      {With(kGptq, "/checkpoint_format", "marlin"), {"checkpoint_format", "found \"marlin\""}}};
  for (const auto& [config, fragments] : cases) {
    std::vector<std::string> problems;
    ReadQuantization({{"quantization_config", config}}, &problems);
    ASSERT_FALSE(problems.empty()) << config;
    for (const std::string& fragment : fragments)
      EXPECT_THAT(problems, ::testing::Contains(::testing::HasSubstr(fragment))) << config;
  }
}

TEST(Quantization, ActOrderWithOneGroupOfAllColumnsChangesNothing) {
  const Quantization one = Read(With(With(kGptq, "/desc_act", true), "/group_size", -1));
  EXPECT_EQ(one.method, Method::kGptq);
  EXPECT_EQ(one.block_cols, 0u);
  EXPECT_FALSE(one.act_order);
  EXPECT_TRUE(Read(With(kGptq, "/desc_act", true)).act_order);
  EXPECT_FALSE(Read(With(With(kGptq, "/desc_act", true), "/static_groups", true)).act_order);
}

// One matrix of 64 x 256, as the binder sees it.
struct Bound {
  Weight weight;
  TensorProblems problems;
  bool ok = false;
};

Bound BindMatrix(const json& config, const SafetensorsWriter& tensors) {
  const TempDir dir;
  WriteDirectory(dir, {{"quantization_config", config}}, tensors.Build());
  const Checkpoint checkpoint = OpenCheckpoint(dir.path());
  Bound bound;
  bound.weight.set_rows(64);
  bound.weight.set_cols(256);
  std::vector<bool> used(checkpoint.tensors.size());
  const Quantization q = Read(config);
  EXPECT_TRUE(HasQuantized(checkpoint, q, "x.weight"));
  bound.ok = BindQuantized(checkpoint, q, "x.weight", false, bound.weight.rows(), &bound.weight, &used,
                           &bound.problems);
  if (bound.ok) {
    EXPECT_THAT(used, ::testing::Each(true));
  }
  return bound;
}

TEST(Quantization, EachFormBecomesATypeThatHoldsIt) {
  SafetensorsWriter fp8, channel, packed, half, asymmetric, awq;
  fp8.Add("x.weight", "F8_E4M3", {64, 256}, 1).Add("x.weight_scale_inv", "F32", {1, 2}, 4);
  channel.Add("x.weight", "F8_E4M3", {64, 256}, 1).Add("x.weight_scale", "BF16", {64, 1});
  packed.Add("x.weight_packed", "I32", {64, 32}, 4).Add("x.weight_scale", "BF16", {64, 8});
  packed.Add("x.weight_shape", "I64", {2}, 8);
  half.Add("x.weight_packed", "I32", {64, 32}, 4).Add("x.weight_scale", "F16", {64, 8});
  asymmetric.Add("x.weight_packed", "I32", {64, 32}, 4).Add("x.weight_scale", "BF16", {64, 8});
  asymmetric.Add("x.weight_zero_point", "I32", {8, 8}, 4);
  awq.Add("x.qweight", "I32", {256, 8}, 4).Add("x.scales", "F16", {2, 64}).Add("x.qzeros", "I32", {2, 8}, 4);
  SafetensorsWriter gptq, gptq8, packed8, ordered;
  gptq.Add("x.qweight", "I32", {32, 64}, 4).Add("x.scales", "F16", {2, 64}).Add("x.qzeros", "I32", {2, 8}, 4);
  gptq.Add("x.g_idx", "I32", {256}, 4);
  gptq8.Add("x.qweight", "I32", {64, 64}, 4)
      .Add("x.scales", "F16", {2, 64})
      .Add("x.qzeros", "I32", {2, 16}, 4);
  packed8.Add("x.weight_packed", "I32", {64, 64}, 4).Add("x.weight_scale", "BF16", {64, 8});
  ordered.Add("x.weight_packed", "I32", {64, 32}, 4).Add("x.weight_scale", "BF16", {64, 8});
  ordered.Add("x.weight_g_idx", "I32", {256}, 4);
  const std::string weights = "/config_groups/group_0/weights/";
  const std::tuple<json, SafetensorsWriter, WeightType, Weight::Layout> cases[] = {
      {kGptq, gptq, WeightType::kInt4_128, Weight::INT_GPTQ},
      {With(kGptq, "/desc_act", true), gptq, WeightType::kF32, Weight::INT_GPTQ},
      {With(kGptq, "/bits", 8), gptq8, WeightType::kQ8_0, Weight::INT_GPTQ},
      {With(With(kGptq, "/bits", 8), "/sym", false), gptq8, WeightType::kF32, Weight::INT_GPTQ},
      {With(kKimi, weights + "num_bits", 8), packed8, WeightType::kInt8_BF16, Weight::INT_ROWS},
      {With(kKimi, weights + "actorder", "group"), ordered, WeightType::kF32, Weight::INT_ROWS},
      {kDeepseek, fp8, WeightType::kF8_E4M3, Weight::F8_TENSORS},
      {kGlm, channel, WeightType::kF8_E4M3, Weight::F8_TENSORS},
      {kKimi, packed, WeightType::kInt4_BF16, Weight::INT_ROWS},
      {kKimi, half, WeightType::kQ4_0, Weight::INT_ROWS},
      {With(kKimi, weights + "symmetric", false), asymmetric, WeightType::kInt4_32, Weight::INT_ROWS},
      {kAwq, awq, WeightType::kInt4_128, Weight::INT4_AWQ}};
  for (const auto& [config, tensors, type, layout] : cases) {
    const Bound bound = BindMatrix(config, tensors);
    ASSERT_TRUE(bound.ok) << config;
    EXPECT_EQ(bound.weight.type(), static_cast<uint32_t>(type)) << config;
    EXPECT_EQ(bound.weight.layout(), layout) << config;
  }
}

TEST(Quantization, TensorsThatDoNotFitAreNamed) {
  SafetensorsWriter fp8, awq;
  fp8.Add("x.weight", "F8_E4M3", {64, 256}, 1).Add("x.weight_scale_inv", "F32", {2, 1}, 4);
  Bound bound = BindMatrix(kDeepseek, fp8);
  EXPECT_FALSE(bound.ok);
  EXPECT_THAT(bound.problems.wrong_shape,
              ::testing::ElementsAre("x.weight_scale_inv is [2, 1], expected [1, 2]"));
  awq.Add("x.qweight", "I32", {256, 8}, 4).Add("x.scales", "F32", {2, 64}, 4);
  bound = BindMatrix(kAwq, awq);
  EXPECT_FALSE(bound.ok);
  EXPECT_THAT(bound.problems.missing, ::testing::ElementsAre("x.qzeros"));
  EXPECT_THAT(bound.problems.wrong_type, ::testing::ElementsAre("x.scales is F32, expected F16 or BF16"));
}

}  // namespace
}  // namespace onecopy
