// Shared by the tests of runtime/model: temporary files, safetensors files and model directories to break.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "runtime/base/error.h"
#include "tests/support/gguf_writer.h"

namespace onecopy::testing {

#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool kSanitized = true;
#else
inline constexpr bool kSanitized = false;
#endif

inline std::string DataPath(const std::string& path) {
  return std::string(ONECOPY_TEST_DATA) + "/" + path;
}

class TempDir {
 public:
  TempDir() {
    std::string pattern = ::testing::TempDir() + "onecopy-model-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}
// Changes one byte in place: much quicker than a new file.
inline void WriteByte(const std::string& path, size_t at, char byte) {
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(static_cast<std::streamoff>(at));
  file.put(byte);
}
inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}
inline nlohmann::json ReadJson(const std::string& path) {
  return nlohmann::json::parse(ReadFile(path));
}

// The action must throw an Error of kBadInput whose message has all fragments.
template <typename Action>
void ExpectBadInput(Action action, const std::vector<std::string>& fragments) {
  try {
    action();
    ADD_FAILURE() << "nothing was thrown; expected: " << ::testing::PrintToString(fragments);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kBadInput) << error.what();
    for (const std::string& fragment : fragments) EXPECT_THAT(error.what(), ::testing::HasSubstr(fragment));
  }
}

// A safetensors file with zero weights.
class SafetensorsWriter {
 public:
  SafetensorsWriter& Add(const std::string& name, const std::string& dtype, std::vector<uint64_t> shape,
                         uint64_t element_bytes = 2) {
    uint64_t bytes = element_bytes;
    for (const uint64_t dim : shape) bytes *= dim;
    header[name] = {
        {"dtype", dtype}, {"shape", std::move(shape)}, {"data_offsets", {data_bytes, data_bytes + bytes}}};
    data_bytes += bytes;
    return *this;
  }
  // From header text and data, with a length that fits unless given.
  static std::string Bytes(const std::string& header, const std::string& data, int64_t length = -1) {
    return Raw<uint64_t>(length < 0 ? header.size() : static_cast<uint64_t>(length)) + header + data;
  }
  std::string Build() const { return Bytes(header.dump(), std::string(data_bytes, '\0')); }

  nlohmann::json header = nlohmann::json::object();
  uint64_t data_bytes = 0;
};

// A model directory: `config` and one safetensors file.
inline void WriteDirectory(const TempDir& dir, const nlohmann::json& config, const std::string& safetensors) {
  WriteFile(dir / "config.json", config.dump());
  WriteFile(dir / "model.safetensors", safetensors);
}

}  // namespace onecopy::testing
