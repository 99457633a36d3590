// cpuid and xgetbv (Intel SDM volume 2A, CPUID; volume 1, section 13.3): a feature counts where the CPU has it and the
// operating system has enabled the state of its registers. Asked directly rather than through
// __builtin_cpu_supports, whose names differ between compilers.
#include "kernels/isa.h"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <bitset>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <map>
#include <utility>

namespace onecopy::kernels {
namespace {

enum Register { kEax, kEbx, kEcx, kEdx };

// Bits of XCR0: SSE and AVX state; also opmask and ZMM state; also AMX tile configuration and data.
constexpr uint64_t kAvxState = 0x6;
constexpr uint64_t kAvx512State = 0xe6;
constexpr uint64_t kAmxState = 0x60006;

struct FeatureBit {
  const char* name;
  uint32_t leaf, subleaf;
  Register reg;
  int bit;
  uint64_t state;  // of XCR0
};

constexpr FeatureBit kFeatures[] = {
    {"AVX2", 7, 0, kEbx, 5, kAvxState},           {"FMA", 1, 0, kEcx, 12, kAvxState},
    {"F16C", 1, 0, kEcx, 29, kAvxState},          {"AVX-512F", 7, 0, kEbx, 16, kAvx512State},
    {"AVX-512BW", 7, 0, kEbx, 30, kAvx512State},  {"AVX-512DQ", 7, 0, kEbx, 17, kAvx512State},
    {"AVX-512VL", 7, 0, kEbx, 31, kAvx512State},  {"AVX-512VNNI", 7, 0, kEcx, 11, kAvx512State},
    {"AVX-512BF16", 7, 1, kEax, 5, kAvx512State}, {"AMX-TILE", 7, 0, kEdx, 24, kAmxState},
    {"AMX-INT8", 7, 0, kEdx, 25, kAmxState},      {"AMX-BF16", 7, 0, kEdx, 22, kAmxState},
};

// Zero where the operating system does not manage extended state at all.
uint64_t ReadXcr0(uint32_t leaf_1_ecx) {
  constexpr uint32_t kOsxsave = 1u << 27;
  if ((leaf_1_ecx & kOsxsave) == 0) return 0;
  uint32_t low, high;
  asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

// Which of kFeatures are present. Read once: in a virtual machine each cpuid is a trip to its host, of 20 us and more.
std::bitset<std::size(kFeatures)> ReadFeatures() {
  std::map<std::pair<uint32_t, uint32_t>, std::array<uint32_t, 4>>
      leaves;  // zeros where the CPU lacks a leaf
  const auto leaf = [&](uint32_t number, uint32_t subleaf) -> const std::array<uint32_t, 4>& {
    const auto [it, is_new] = leaves.try_emplace({number, subleaf});
    std::array<uint32_t, 4>& regs = it->second;
    if (is_new) __get_cpuid_count(number, subleaf, &regs[kEax], &regs[kEbx], &regs[kEcx], &regs[kEdx]);
    return regs;
  };
  const uint64_t xcr0 = ReadXcr0(leaf(1, 0)[kEcx]);
  std::bitset<std::size(kFeatures)> present;
  for (size_t i = 0; i < std::size(kFeatures); ++i) {
    const FeatureBit& feature = kFeatures[i];
    present[i] = (leaf(feature.leaf, feature.subleaf)[feature.reg] >> feature.bit & 1) != 0 &&
                 (xcr0 & feature.state) == feature.state;
  }
  return present;
}

const std::bitset<std::size(kFeatures)>& Features() {
  static const std::bitset<std::size(kFeatures)> present = ReadFeatures();
  return present;
}

bool AllPresent(std::initializer_list<const char*> names) {
  bool all = true;
  for (const char* name : names) {
    for (size_t i = 0; i < std::size(kFeatures); ++i) {
      if (std::strcmp(kFeatures[i].name, name) == 0) all = all && Features()[i];
    }
  }
  return all;
}

// The kernel gives a process the 8 KiB of tile registers only when asked (Linux 5.16,
// Documentation/arch/x86/xstate.rst). Threads made afterwards have the permission too.
bool TilesPermitted() {
  constexpr long kRequest = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;     // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

}  // namespace

std::vector<IsaFeature> IsaFeatures() {
  std::vector<IsaFeature> features;
  for (size_t i = 0; i < std::size(kFeatures); ++i) features.push_back({kFeatures[i].name, Features()[i]});
  return features;
}

bool HasAvx2() {
  return AllPresent({"AVX2", "FMA", "F16C"});
}

bool HasAvx512() {
  return HasAvx2() && AllPresent({"AVX-512F", "AVX-512BW", "AVX-512DQ", "AVX-512VL", "AVX-512VNNI"});
}

bool HasAmx() {
  return HasAvx512() && AllPresent({"AVX-512BF16", "AMX-TILE", "AMX-BF16"}) && TilesPermitted();
}

}  // namespace onecopy::kernels
