// Reads the reference outputs in tests/data/goldens: golden.json and golden.safetensors. Independent of the readers
// under test.
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace onecopy::test {

struct Golden {
  explicit Golden(const std::string& folder) {
    json = nlohmann::json::parse(std::ifstream(folder + "/golden.json"));
    std::ifstream file(folder + "/golden.safetensors", std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
    uint64_t header;
    std::memcpy(&header, bytes.data(), 8);
    index = nlohmann::json::parse(bytes.substr(8, header));
    data = 8 + header;
  }
  // A float32 tensor, flat.
  std::vector<float> Floats(const std::string& name) const {
    const auto& entry = index.at(name);
    if (entry.at("dtype") != "F32") throw std::runtime_error(name + " is not F32");
    const uint64_t begin = entry["data_offsets"][0], end = entry["data_offsets"][1];
    std::vector<float> values((end - begin) / sizeof(float));
    std::memcpy(values.data(), bytes.data() + data + begin, end - begin);
    return values;
  }
  std::vector<std::vector<int32_t>> prompts() const { return json.at("prompts"); }
  std::vector<std::vector<int32_t>> greedy() const { return json.at("greedy"); }
  double atol() const { return json.at("tolerance").at("advised_atol_float32"); }

  nlohmann::json json, index;
  std::string bytes;
  uint64_t data;
};

}  // namespace onecopy::test
