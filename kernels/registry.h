// The kernel tables of this build, best first, and the choice of one.
#pragma once

#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace onecopy::kernels {

struct TableEntry {
  const KernelTable& (*table)();  // valid to call only where supported() holds
  const char* name;
  const char* requires_isa;  // for people: "AVX2, FMA, F16C"
  bool (*supported)();       // does this CPU and operating system have the ISA
};

// In priority order; the last is "ref" and is always supported.
const std::vector<TableEntry>& AllTables();

// The best supported table, or the one named by `forced` (the value of ONECOPY_KERNELS; empty: none).
// Returns nullptr and fills *error with a sentence where `forced` is unknown or this CPU lacks its ISA.
const KernelTable* SelectTable(const std::string& forced, std::string* error);
// The same over given tables, so that tests can play a CPU that lacks an ISA.
const KernelTable* SelectTableOf(const std::vector<TableEntry>& tables, const std::string& forced,
                                 std::string* error);

// The table with a KV cache of that type, kQ8_0; any other: the table itself, with the type that it has. Valid for ever,
// the same for the same arguments. Thread-safe.
const KernelTable& WithCache(const KernelTable& table, KvType type);

// The table with quick_sum in place of matmul_sum, where kernels have one: for those who do not need the same bits with any
// number of ranks. Valid and thread-safe as WithCache.
const KernelTable& WithQuickSums(const KernelTable& table);

}  // namespace onecopy::kernels
