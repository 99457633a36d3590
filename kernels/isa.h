// What this CPU and operating system can execute. Thread-safe.
#pragma once

#include <vector>

namespace onecopy::kernels {

struct IsaFeature {
  const char* name;  // "AVX2"
  bool present;      // the CPU has it and the operating system saves its registers
};

// The features that some table of this project, built or planned, may need; for `doctor`.
std::vector<IsaFeature> IsaFeatures();

// AVX2, FMA and F16C: x86-64-v3 in what the kernels use of it.
bool HasAvx2();
// That, and AVX-512 F, BW, DQ, VL and VNNI (Cascade Lake, Zen 4 and later).
bool HasAvx512();
// That, AVX512_BF16 and AMX-BF16 (Sapphire Rapids and later), and the operating system lets this process use the tile
// registers, for which it is asked: to be called before threads are made.
bool HasAmx();

}  // namespace onecopy::kernels
