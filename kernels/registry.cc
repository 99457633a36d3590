// The tables of this build. Adding one: a folder with its Table(), and a row here above those it beats.
#include "kernels/registry.h"

#include <map>
#include <mutex>

#include "kernels/amx/amx.h"
#include "kernels/avx2/avx2.h"
#include "kernels/avx512/avx512.h"
#include "kernels/isa.h"
#include "kernels/ref/ref.h"

namespace onecopy::kernels {

const std::vector<TableEntry>& AllTables() {
  static const std::vector<TableEntry> tables = {
      {amx::Table, "amx", "AVX-512 with VNNI and BF16, AMX-BF16 that the operating system permits", HasAmx},
      {avx512::Table, "avx512", "AVX-512 F, BW, DQ, VL, VNNI", HasAvx512},
      {avx2::Table, "avx2", "AVX2, FMA, F16C", HasAvx2},
      {ref::Table, "ref", "x86-64", [] { return true; }},
  };
  return tables;
}

const KernelTable* SelectTableOf(const std::vector<TableEntry>& tables, const std::string& forced,
                                 std::string* error) {
  std::string names;
  for (const TableEntry& entry : tables) {
    if (!names.empty()) names += ", ";
    names += entry.name;
    if (!forced.empty() && forced != entry.name) continue;
    if (entry.supported()) return &entry.table();
    if (!forced.empty()) {
      *error = "ONECOPY_KERNELS asks for the kernels \"" + forced + "\", which need " + entry.requires_isa +
               ", but this CPU or its operating system lacks that; unset the variable to have the best ones "
               "chosen";
      return nullptr;
    }
  }
  *error = "ONECOPY_KERNELS asks for the kernels \"" + forced +
           "\", which this build does not have; it knows " + names;
  return nullptr;
}

const KernelTable* SelectTable(const std::string& forced, std::string* error) {
  return SelectTableOf(AllTables(), forced, error);
}

namespace {

// Tables made of others, each once.
class Variants {
 public:
  const KernelTable& Of(const KernelTable& table, void (*change)(KernelTable*)) {
    const std::lock_guard lock(mutex_);
    const auto [it, is_new] = made_.try_emplace(&table, table);
    if (is_new) change(&it->second);
    return it->second;
  }

 private:
  std::mutex mutex_;
  std::map<const KernelTable*, KernelTable> made_;
};

void TakeQuickSum(MatmulKernel* kernel) {
  if (kernel->quick_sum != nullptr) kernel->matmul_sum = kernel->quick_sum;
}

}  // namespace

const KernelTable& WithCache(const KernelTable& table, KvType type) {
  if (type != KvType::kQ8_0) return table;
  static Variants made;
  return made.Of(table, [](KernelTable* t) { static_cast<CacheKernels&>(*t) = t->q8_cache; });
}

const KernelTable& WithQuickSums(const KernelTable& table) {
  static Variants made;
  return made.Of(table, [](KernelTable* t) {
    for (WeightKernel& kernel : t->weights) {
      TakeQuickSum(&kernel);
      TakeQuickSum(&kernel.many);
    }
  });
}

}  // namespace onecopy::kernels
