// The choice of a kernel table, with CPUs played by fake entries.
#include "kernels/registry.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/isa.h"
#include "tests/unit/kernels/test_tables.h"

namespace onecopy::kernels {
namespace {

using ::testing::HasSubstr;

const KernelTable& RefTable() {
  return AllTables().back().table();
}
const KernelTable& Forbidden() {
  ADD_FAILURE() << "the table of an absent ISA was built";
  return RefTable();
}
bool Yes() {
  return true;
}
bool No() {
  return false;
}

TEST(Registry, RefIsLastAndAlwaysSupported) {
  EXPECT_STREQ(AllTables().back().name, "ref");
  EXPECT_TRUE(AllTables().back().supported());
}

TEST(Registry, EveryTableCarriesItsNameAndEveryFunction) {
  for (const TableEntry& entry : AllTables()) {
    if (!entry.supported()) continue;
    const KernelTable& table = entry.table();
    EXPECT_STREQ(table.name, entry.name);
    for (const WeightKernel& kernel : table.weights) {
      EXPECT_NE(kernel.matmul, nullptr);
      EXPECT_NE(kernel.matmul_sum, nullptr);
      EXPECT_GE(kernel.row_tile, 1u);
      EXPECT_EQ(kernel.many.matmul != nullptr, kernel.many.matmul_sum != nullptr);
      EXPECT_TRUE(!kernel.has_many() || table.has_many());
    }
    EXPECT_TRUE(table.quantize_q8 && table.round_bf16 && table.rms_norm && table.rope_neox &&
                table.rope_pairwise && table.silu_mul && table.axpy && table.softmax && table.store_kv &&
                table.attend && table.transposed.panel_bytes && table.transposed.pack &&
                table.transposed.multiply);
    for (const KvType type : {KvType::kF16, KvType::kQ8_0}) {
      const KernelTable& cached = WithCache(table, type);
      EXPECT_EQ(cached.kv_type == KvType::kQ8_0, type == KvType::kQ8_0);
      EXPECT_EQ(&WithCache(table, type), &cached);
      EXPECT_STREQ(cached.name, entry.name);
      EXPECT_TRUE(cached.store_kv && cached.attend && cached.attend_block && cached.attend_block_bytes);
    }
  }
}

TEST(Registry, QuickSumsStandInForExactOnesWhereThereAreAny) {
  for (const TableEntry& entry : AllTables()) {
    if (!entry.supported()) continue;
    const KernelTable &exact = entry.table(), &quick = WithQuickSums(exact);
    EXPECT_EQ(&WithQuickSums(exact), &quick);
    EXPECT_STREQ(quick.name, entry.name);
    for (size_t i = 0; i < std::size(exact.weights); ++i) {
      const WeightKernel &a = exact.weights[i], &b = quick.weights[i];
      EXPECT_EQ(b.matmul, a.matmul);
      EXPECT_EQ(b.matmul_sum, a.quick_sum != nullptr ? a.quick_sum : a.matmul_sum);
      EXPECT_EQ(b.many.matmul_sum, a.many.quick_sum != nullptr ? a.many.quick_sum : a.many.matmul_sum);
    }
  }
}

TEST(Registry, FirstSupportedTableWins) {
  std::string error;
  EXPECT_EQ(SelectTableOf({{RefTable, "fast", "X", Yes}, {Forbidden, "ref", "Y", Yes}}, "", &error),
            &RefTable());
  EXPECT_EQ(SelectTableOf({{Forbidden, "fast", "X", No}, {RefTable, "ref", "Y", Yes}}, "", &error),
            &RefTable());
  EXPECT_EQ(error, "");
}

TEST(Registry, ForcedNameIsTaken) {
  std::string error;
  const KernelTable* table = SelectTable("ref", &error);
  ASSERT_NE(table, nullptr) << error;
  EXPECT_STREQ(table->name, "ref");
}

TEST(Registry, UnknownNameIsAnErrorThatListsTheKnownOnes) {
  std::string error;
  EXPECT_EQ(SelectTable("avx3", &error), nullptr);
  EXPECT_THAT(error, HasSubstr("\"avx3\""));
  for (const TableEntry& entry : AllTables()) EXPECT_THAT(error, HasSubstr(entry.name));
}

TEST(Registry, ForcedTableOfAnAbsentIsaIsAnErrorNotAFallback) {
  std::string error;
  EXPECT_EQ(SelectTableOf({{Forbidden, "fast", "FAST-9", No}, {RefTable, "ref", "", Yes}}, "fast", &error),
            nullptr);
  EXPECT_THAT(error, HasSubstr("FAST-9"));
}

// Against the kernel's own view, which also leaves out what the operating system does not save.
TEST(Isa, AgreesWithProcCpuinfo) {
  std::ifstream in("/proc/cpuinfo");
  std::string line, flags;
  while (flags.empty() && std::getline(in, line)) {
    if (line.rfind("flags", 0) == 0) flags = line + " ";
  }
  ASSERT_FALSE(flags.empty());
  const auto has = [&](const char* flag) {
    return flags.find(" " + std::string(flag) + " ") != std::string::npos;
  };
  EXPECT_EQ(HasAvx2(), has("avx2") && has("fma") && has("f16c"));
  EXPECT_EQ(HasAvx512(), HasAvx2() && has("avx512f") && has("avx512bw") && has("avx512dq") &&
                             has("avx512vl") && has("avx512_vnni"));
  // A kernel or container may forbid the tiles, so only one direction.
  if (HasAmx()) {
    EXPECT_TRUE(HasAvx512() && has("avx512_bf16") && has("amx_tile") && has("amx_bf16"));
  }
  const std::pair<const char*, const char*> names[] = {{"AVX2", "avx2"},
                                                       {"FMA", "fma"},
                                                       {"F16C", "f16c"},
                                                       {"AVX-512F", "avx512f"},
                                                       {"AVX-512BW", "avx512bw"},
                                                       {"AVX-512DQ", "avx512dq"},
                                                       {"AVX-512VL", "avx512vl"},
                                                       {"AVX-512VNNI", "avx512_vnni"},
                                                       {"AVX-512BF16", "avx512_bf16"},
                                                       {"AMX-TILE", "amx_tile"},
                                                       {"AMX-INT8", "amx_int8"},
                                                       {"AMX-BF16", "amx_bf16"}};
  const std::vector<IsaFeature> features = IsaFeatures();
  ASSERT_EQ(features.size(), std::size(names));
  for (size_t i = 0; i < features.size(); ++i) {
    ASSERT_STREQ(features[i].name, names[i].first);
    EXPECT_EQ(features[i].present, has(names[i].second)) << names[i].first;
  }
}

}  // namespace
}  // namespace onecopy::kernels
