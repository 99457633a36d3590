// What the kernel tests share: reading goldens, and the fixture that runs a test on every table.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "kernels/registry.h"
#include "tests/support/kernel_table.h"
#include "tests/unit/kernels/random_matrix.h"

namespace onecopy::kernels {

template <typename T>
std::vector<T> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  EXPECT_TRUE(in) << path;
  std::vector<T> out(static_cast<size_t>(in.tellg()) / sizeof(T));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size() * sizeof(T)));
  return out;
}

inline std::string QuantGolden(const std::string& file) {
  return std::string(ONECOPY_TEST_DATA) + "/goldens/quants/" + file;
}

// Fixture parameter: an entry of AllTables(). Tests of a table that this CPU cannot run are skipped by name.
#define ONECOPY_SKIP_UNLESS_SUPPORTED(entry)                                                            \
  if (!(entry)->supported()) {                                                                          \
    GTEST_SKIP() << "table " << (entry)->name << " needs " << (entry)->requires_isa << ", absent here"; \
  }

inline std::vector<const TableEntry*> TableEntries() {
  std::vector<const TableEntry*> out;
  for (const TableEntry& entry : AllTables()) out.push_back(&entry);
  return out;
}

class PerTable : public ::testing::TestWithParam<const TableEntry*> {
 protected:
  void SetUp() override {
    ONECOPY_SKIP_UNLESS_SUPPORTED(GetParam());
    table_ = &GetParam()->table();
  }
  const KernelTable* table_ = nullptr;
};

class PerCache : public ::testing::TestWithParam<test::CacheCase> {
 protected:
  void SetUp() override {
    ONECOPY_SKIP_UNLESS_SUPPORTED(GetParam().entry);
    table_ = &GetParam().table();
  }
  const KernelTable* table_ = nullptr;
};

inline std::string CacheName(const ::testing::TestParamInfo<test::CacheCase>& info) {
  return info.param.name();
}

// A row of a cache as float: n elements.
inline std::vector<float> DecodeRow(KvType type, const uint8_t* row, size_t n) {
  const WeightType of_file = type == KvType::kF32   ? WeightType::kF32
                             : type == KvType::kF16 ? WeightType::kF16
                                                    : WeightType::kQ8_0;
  std::vector<float> out((n + kQ8Block - 1) / kQ8Block * kQ8Block);
  Info(of_file).decode(row, out.data(), type == KvType::kQ8_0 ? out.size() : n);
  out.resize(n);
  return out;
}

inline std::string TableName(const ::testing::TestParamInfo<const TableEntry*>& info) {
  return info.param->name;
}

}  // namespace onecopy::kernels
