// FP8 directories of the hybrids (Qwen3-Next-FP8, Qwen3.5-FP8), whose linear attention has q, k, v and z in one matrix with one
// scale for 128 x 128 weights: they compute what a directory of the dequantised weights does, which goldens hold against
// transformers. Heads are shorter than blocks here, so that blocks of scales cover rows of several weights.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "tests/parity/golden_cases.h"
#include "tests/parity/temp_folder.h"

namespace onecopy::parity {
namespace {

template <typename T>
std::string Bytes(const T* values, size_t n) {
  return {reinterpret_cast<const char*>(values), n * sizeof(T)};
}

class SafetensorsFile {
 public:
  void Add(const std::string& name, const char* dtype, const nlohmann::json& shape, const std::string& data) {
    header_[name] = {
        {"dtype", dtype}, {"shape", shape}, {"data_offsets", {data_.size(), data_.size() + data.size()}}};
    data_ += data;
  }
  void Write(const std::string& folder, const nlohmann::json& config) const {
    std::filesystem::create_directories(folder);
    std::ofstream(folder + "/config.json") << config;
    std::string text = header_.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    const uint64_t size = text.size();
    std::ofstream(folder + "/model.safetensors", std::ios::binary) << Bytes(&size, 1) << text << data_;
  }

 private:
  nlohmann::json header_;
  std::string data_;
};

// The non-negative numbers of E4M3, by code.
const std::array<float, 127>& Numbers() {
  static const auto numbers = [] {
    std::array<float, 127> all;
    for (int code = 0; code < 127; ++code)
      all[code] = code < 8 ? std::ldexp(static_cast<float>(code), -9)
                           : std::ldexp(8.0f + static_cast<float>(code & 7), (code >> 3) - 10);
    return all;
  }();
  return numbers;
}
uint8_t NearestCode(float x) {
  const auto above = std::lower_bound(Numbers().begin(), Numbers().end(), std::fabs(x));
  auto code = static_cast<int>(above - Numbers().begin());
  if (code == 127 || (code > 0 && std::fabs(x) - Numbers()[code - 1] < Numbers()[code] - std::fabs(x)))
    --code;
  return static_cast<uint8_t>(code | (x < 0 ? 0x80 : 0));
}

bool IsConverted(const std::string& name) {
  const auto has = [&](const char* part) { return name.find(part) != std::string::npos; };
  return has("_proj") && name.ends_with(".weight") && !has("in_proj_ba") && !has("in_proj_a.") &&
         !has("in_proj_b.");
}

// A matrix in bf16 to codes with scales, and to the floats that these stand for. Scales are powers of two, and differ from
// block to block.
void AddConverted(const std::string& name, const nlohmann::json& shape, const uint16_t* bf16,
                  SafetensorsFile* fp8, SafetensorsFile* floats) {
  constexpr size_t kBlock = 128;
  const size_t rows = shape.at(0), cols = shape.at(1);
  const size_t down = (rows + kBlock - 1) / kBlock, across = (cols + kBlock - 1) / kBlock;
  std::vector<uint8_t> codes(rows * cols);
  std::vector<float> values(rows * cols), scales(down * across);
  for (size_t i = 0; i < scales.size(); ++i) scales[i] = std::ldexp(1.0f, -11 - static_cast<int>(i % 3));
  for (size_t i = 0; i < codes.size(); ++i) {
    const uint32_t bits = uint32_t{bf16[i]} << 16;
    const float scale = scales[i / cols / kBlock * across + i % cols / kBlock];
    float value;
    std::memcpy(&value, &bits, sizeof value);
    codes[i] = NearestCode(value / scale);
    values[i] = Numbers()[codes[i] & 127] * scale * (codes[i] & 128 ? -1.0f : 1.0f);
  }
  fp8->Add(name, "F8_E4M3", shape, Bytes(codes.data(), codes.size()));
  fp8->Add(name + "_scale_inv", "F32", {down, across}, Bytes(scales.data(), scales.size()));
  floats->Add(name, "F32", shape, Bytes(values.data(), values.size()));
}

// Returns how many matrices of linear attention it converted.
int WriteBoth(const std::string& from, const std::string& fp8_folder, const std::string& floats_folder) {
  std::ifstream in(from + "/model.safetensors", std::ios::binary);
  const std::string file(std::istreambuf_iterator<char>(in), {});
  uint64_t header_size;
  std::memcpy(&header_size, file.data(), sizeof header_size);
  const auto header = nlohmann::json::parse(file.substr(8, header_size));
  SafetensorsFile fp8, floats;
  int linear = 0;
  for (const auto& [name, tensor] : header.items()) {
    const uint64_t begin = tensor.at("data_offsets").at(0), end = tensor.at("data_offsets").at(1);
    const std::string data = file.substr(8 + header_size + begin, end - begin);
    if (IsConverted(name)) {
      EXPECT_EQ(tensor.at("dtype"), "BF16") << name;
      AddConverted(name, tensor.at("shape"), reinterpret_cast<const uint16_t*>(data.data()), &fp8, &floats);
      linear += name.find("linear_attn.in_proj") != std::string::npos ? 1 : 0;
      continue;
    }
    for (SafetensorsFile* to : {&fp8, &floats})
      to->Add(name, tensor.at("dtype").get<std::string>().c_str(), tensor.at("shape"), data);
  }
  auto config = nlohmann::json::parse(std::ifstream(from + "/config.json"));
  floats.Write(floats_folder, config);
  config["quantization_config"] = {{"quant_method", "fp8"},
                                   {"fmt", "e4m3"},
                                   {"activation_scheme", "dynamic"},
                                   {"weight_block_size", {128, 128}}};
  fp8.Write(fp8_folder, config);
  return linear;
}

std::vector<float> HybridLogits(const std::string& model, int ranks) {
  std::vector<float> all;
  WithModel({"", "", model.c_str()}, ranks, [&](exec::Engine& engine) {
    std::vector<int32_t> prompt(70);
    for (size_t i = 0; i < prompt.size(); ++i)
      prompt[i] = static_cast<int32_t>((11 * i * i + 5 * i) % engine.spec().vocab_size());
    const auto logits = engine.Append(0, 0, prompt, 70);
    all.assign(logits.begin(), logits.end());
    engine.Release(0);
  });
  return all;
}

class Fp8Hybrids : public ::testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, Fp8Hybrids, ::testing::Values("qwen3_next", "qwen3_5_moe_text", "qwen3_5"),
                         [](const auto& info) { return info.param; });

TEST_P(Fp8Hybrids, ComputeWhatTheirDequantisedWeightsDo) {
  const TempFolder folder;
  ASSERT_GT(WriteBoth(CaseOf(GetParam()).model(), folder / "fp8", folder / "floats"), 0);
  setenv("ONECOPY_KERNELS", "ref", 1);
  const std::vector<float> want = HybridLogits(folder / "floats", 1);
  float largest = 0;
  for (const float value : want) largest = std::max(largest, std::fabs(value));
  ASSERT_TRUE(std::isfinite(largest) && largest > 0);
  for (const int ranks : {1, 2, 3}) {
    const std::vector<float> got = HybridLogits(folder / "fp8", ranks);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i)
      ASSERT_NEAR(got[i], want[i], 1e-4 * largest) << ranks << " ranks, logit " << i;
  }
  unsetenv("ONECOPY_KERNELS");
}

}  // namespace
}  // namespace onecopy::parity
