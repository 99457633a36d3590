// Tables of kernels by name, for tests that take any or one that every machine has.
#pragma once

#include <string>
#include <vector>

#include "kernels/registry.h"

namespace onecopy::test {

inline const kernels::KernelTable& RefTable() {
  std::string error;
  return *kernels::SelectTable("ref", &error);
}

// The one that a user of this machine gets.
inline const kernels::KernelTable& AnyTable() {
  std::string error;
  return *kernels::SelectTable("", &error);
}

// A table, with its own cache or with one of q8_0: what a test of attention goes over. Not every CPU has every table.
struct CacheCase {
  const kernels::TableEntry* entry;
  kernels::KvType type;
  const kernels::KernelTable& table() const { return kernels::WithCache(entry->table(), type); }
  std::string name() const {
    return std::string(entry->name) + (type == kernels::KvType::kQ8_0 ? "_q8_0" : "");
  }
};
inline std::vector<CacheCase> CacheCases() {
  std::vector<CacheCase> out;
  for (const kernels::TableEntry& entry : kernels::AllTables())
    for (const auto type : {kernels::KvType::kF16, kernels::KvType::kQ8_0}) out.push_back({&entry, type});
  return out;
}

}  // namespace onecopy::test
