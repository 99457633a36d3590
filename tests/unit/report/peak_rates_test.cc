#include "runtime/report/peak_rates.h"

#include <gtest/gtest.h>

#include <map>
#include <string>

#include "kernels/isa.h"
#include "kernels/registry.h"
#include "runtime/report/kernel_rates.h"

namespace onecopy::report {
namespace {

std::map<std::string, double> QuickestByFormat(int threads) {
  std::map<std::string, double> rates;
  for (const PeakRate& peak : MeasurePeakRates(threads))
    rates.emplace(peak.format, peak.multiply_adds_per_second);
  return rates;
}

TEST(PeakRates, EveryInstructionOfThisCpuHasARate) {
  if (!kernels::HasAvx2()) GTEST_SKIP() << "this CPU lacks AVX2";
  const auto peaks = MeasurePeakRates(1);
  EXPECT_GE(peaks.size(), 2u) << "int8 and f32 of AVX2 at least";
  for (const PeakRate& peak : peaks) {
    // A core does at least one vector of eight in ten cycles of 1 GHz, and no core a tile product each cycle of 8 GHz.
    EXPECT_GT(peak.multiply_adds_per_second, 0.8e9) << peak.instruction;
    EXPECT_LT(peak.multiply_adds_per_second, 8e9 * 16 * 16 * 64) << peak.instruction;
  }
}

TEST(PeakRates, NoKernelIsQuickerThanThePeak) {
  if (!kernels::HasAvx2()) GTEST_SKIP() << "this CPU lacks AVX2";
  const auto peaks = QuickestByFormat(1);
  for (const auto& entry : kernels::AllTables()) {
    if (!entry.supported()) continue;
    for (const auto& [type, format] :
         {std::pair{kernels::WeightType::kQ8_0, "int8"}, std::pair{kernels::WeightType::kF32, "f32"}}) {
      const double rate = MeasureMatmulRate(entry.table(), type, /*sum=*/false, 64, 1);
      EXPECT_GT(rate, 0) << entry.name;
      EXPECT_LT(rate, 1.25 * peaks.at(format)) << entry.name << ", " << format;
    }
  }
}

}  // namespace
}  // namespace onecopy::report
