// Models whose weights are drawn by a counter, as tests/data/goldens/make_drawn.py drew them: writes the Hugging Face
// directory and the GGUF file that drawn.json and gguf.json describe. Independent of the code under test.
#pragma once

#include <stdlib.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/support/gguf_writer.h"

namespace onecopy::test {

class DrawnModel {
 public:
  explicit DrawnModel(const std::string& folder) : folder_(folder) {
    for (const auto& entry : Read("/drawn.json")) recipes_[entry.at("name")] = entry;
  }

  // directory: gets config.json and model.safetensors.
  void WriteHuggingFace(const std::string& directory) const {
    std::filesystem::create_directories(directory);
    std::filesystem::copy_file(folder_ + "/config.json", directory + "/config.json",
                               std::filesystem::copy_options::overwrite_existing);
    nlohmann::json header;
    std::string data;
    for (const auto& [name, recipe] : recipes_) {
      const size_t begin = data.size();
      const bool f32 = recipe.at("dtype") == "F32";
      for (const float value : Draw(recipe)) data += f32 ? Bytes(value) : Bytes(Bf16(value));
      header[name] = {{"dtype", recipe.at("dtype")},
                      {"shape", recipe.at("shape")},
                      {"data_offsets", {begin, data.size()}}};
    }
    std::string text = header.dump();
    text.resize((text.size() + 7) / 8 * 8, ' ');
    std::ofstream(directory + "/model.safetensors", std::ios::binary)
        << Bytes<uint64_t>(text.size()) << text << data;
  }

  void WriteGguf(const std::string& file) const {
    const nlohmann::json description = Read("/gguf.json");
    testing::GgufWriter gguf;
    for (const auto& entry : description.at("metadata")) {
      const std::string key = entry.at(0), type = entry.at(1);
      if (type == "STRING") gguf.Text(key, entry.at(2));
      if (type == "UINT32") gguf.U32(key, entry.at(2));
      if (type == "FLOAT32") gguf.F32(key, entry.at(2));
      if (type == "BOOL") gguf.Flag(key, entry.at(2));
      if (type == "INT32[]")
        gguf.Numbers(key, testing::GgufWriter::kI32, entry.at(2).get<std::vector<int32_t>>());
      if (type == "BOOL[]") {
        std::vector<uint8_t> flags;
        for (const bool flag : entry.at(2)) flags.push_back(flag ? 1 : 0);
        gguf.Numbers(key, testing::GgufWriter::kBool, flags);
      }
    }
    for (const auto& tensor : description.at("tensors")) {
      const std::vector<uint64_t> shape = tensor.at("shape");
      const bool f32 = tensor.at("type") == "F32";
      std::string data;
      for (const float value : GgufValues(tensor)) data += f32 ? Bytes(value) : Bytes(F16(value));
      gguf.Add({tensor.at("name"), {shape.rbegin(), shape.rend()}, f32 ? 0u : 1u, std::move(data)});
    }
    gguf.Write(file);
  }

 private:
  nlohmann::json Read(const std::string& name) const {
    return nlohmann::json::parse(std::ifstream(folder_ + name));
  }

  static std::vector<float> Draw(const nlohmann::json& recipe) {
    uint64_t h = 0xcbf29ce484222325;
    for (const char c : recipe.at("key").get<std::string>())
      h = (h ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    size_t n = 1;
    for (const uint64_t dim : recipe.at("shape")) n *= dim;
    std::vector<float> values(n);
    const bool centered = recipe.contains("exponent");
    const float unit = centered ? std::ldexp(1.0f, recipe.at("exponent")) : 1;
    for (size_t i = 0; i < n; ++i) {
      uint64_t z = h + (i + 1) * 0x9e3779b97f4a7c15;
      z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
      z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
      z ^= z >> 31;
      const int k = static_cast<int>((z & 63) + (z >> 8 & 63) + (z >> 16 & 63) + (z >> 24 & 63)) - 126;
      values[i] = centered ? static_cast<float>(k) * unit : 1.0f + static_cast<float>(k >> 2) / 128.0f;
    }
    return values;
  }

  std::vector<float> GgufValues(const nlohmann::json& tensor) const {
    if (tensor.contains("values")) return tensor.at("values");
    std::vector<float> values;
    for (const auto& part : tensor.at("parts")) {
      const nlohmann::json& recipe = recipes_.at(part.at(0));
      const std::vector<float> source = Draw(recipe);
      const std::vector<uint64_t> shape = recipe.at("shape");
      const size_t first = part.at(1), rows = part.at(2), cols = shape.back();
      // A vector that goes with heads (a bias of q) is a column of rows.
      const size_t heads = tensor.at("heads"), width = heads > 0 && shape.size() == 1 ? 1 : cols;
      const size_t count = heads > 0 && shape.size() == 1 ? cols : rows;
      std::vector<float> piece(source.begin() + static_cast<ptrdiff_t>(first * width),
                               source.begin() + static_cast<ptrdiff_t>((first + count) * width));
      size_t piece_cols = width;
      if (part.size() > 3) {
        const size_t first_col = part.at(3);
        piece_cols = part.at(4);
        std::vector<float> columns;
        for (size_t r = 0; r < rows; ++r)
          for (size_t c = 0; c < piece_cols; ++c) columns.push_back(piece[r * width + first_col + c]);
        piece = std::move(columns);
      }
      if (heads > 0) piece = Interleaved(piece, heads, width);
      if (tensor.value("transposed", false)) piece = Transposed(piece, piece_cols);
      values.insert(values.end(), piece.begin(), piece.end());
    }
    if (tensor.contains("tile")) values = Tiled(values, tensor.at("tile"));
    const std::string change = tensor.value("change", "");
    if (change == "plus_one")
      for (float& value : values) value = 1 + value;
    if (change == "minus_exp")
      for (float& value : values) value = -std::exp(value);
    return values;
  }

  // [heads][2][half][width] to [heads][half][2][width].
  static std::vector<float> Interleaved(const std::vector<float>& x, size_t heads, size_t width) {
    std::vector<float> out(x.size());
    const size_t half = x.size() / width / heads / 2;
    for (size_t h = 0; h < heads; ++h)
      for (size_t s = 0; s < 2; ++s)
        for (size_t i = 0; i < half; ++i)
          for (size_t c = 0; c < width; ++c)
            out[((h * half + i) * 2 + s) * width + c] = x[((h * 2 + s) * half + i) * width + c];
    return out;
  }
  static std::vector<float> Transposed(const std::vector<float>& x, size_t width) {
    std::vector<float> out(x.size());
    const size_t rows = x.size() / width;
    for (size_t r = 0; r < rows; ++r)
      for (size_t c = 0; c < width; ++c) out[c * rows + r] = x[r * width + c];
    return out;
  }

  // [rows][a][b][n] to [rows][b][a][n].
  static std::vector<float> Tiled(const std::vector<float>& x, const std::vector<size_t>& tile) {
    const size_t a = tile.at(0), b = tile.at(1), n = tile.at(2);
    std::vector<float> out(x.size());
    for (size_t row = 0; row < x.size(); row += a * b * n)
      for (size_t i = 0; i < a; ++i)
        for (size_t j = 0; j < b; ++j)
          for (size_t e = 0; e < n; ++e) out[row + (j * a + i) * n + e] = x[row + (i * b + j) * n + e];
    return out;
  }

  template <typename T>
  static std::string Bytes(T value) {
    return testing::Raw(value);
  }
  // All values are small integers times powers of two, which both formats hold exactly.
  static uint16_t Bf16(float value) {
    const auto bits = std::bit_cast<uint32_t>(value);
    if ((bits & 0xffff) != 0) throw std::runtime_error("not a bfloat16");
    return static_cast<uint16_t>(bits >> 16);
  }
  static uint16_t F16(float value) {
    if (value == 0) return 0;
    const auto bits = std::bit_cast<uint32_t>(value);
    const int exponent = static_cast<int>(bits >> 23 & 0xff) - 127 + 15;
    const uint32_t sign = bits >> 16 & 0x8000, significand = bits & 0x7fffff;
    if (exponent >= 31 || exponent < -10) throw std::runtime_error("not a half");
    if (exponent > 0)
      return static_cast<uint16_t>(sign | static_cast<uint32_t>(exponent) << 10 | significand >> 13);
    return static_cast<uint16_t>(sign | (significand | 0x800000) >> (14 - exponent));
  }

  std::string folder_;
  std::map<std::string, nlohmann::json> recipes_;
};

// The files of drawn models, made when first asked for, gone with the process.
class DrawnModels {
 public:
  ~DrawnModels() {
    if (!root_.empty()) std::filesystem::remove_all(root_);
  }
  // A directory, or (gguf) a file. folder: of the golden.
  const std::string& Path(const std::string& folder, bool gguf) {
    std::string& path = paths_[{folder, gguf}];
    if (!path.empty()) return path;
    if (root_.empty()) {
      std::string pattern = std::filesystem::temp_directory_path() / "onecopy-drawn-XXXXXX";
      root_ = mkdtemp(pattern.data());
    }
    path = root_ + "/" + std::to_string(paths_.size()) + (gguf ? ".gguf" : "");
    gguf ? DrawnModel(folder).WriteGguf(path) : DrawnModel(folder).WriteHuggingFace(path);
    return path;
  }

 private:
  std::string root_;
  std::map<std::pair<std::string, bool>, std::string> paths_;
};

}  // namespace onecopy::test
