// What the tests of doctor share: a healthy machine to change, and how a finding is judged.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "runtime/report/doctor.h"
#include "tests/support/captured_tree.h"

namespace onecopy::report {

inline constexpr uint64_t kGib = uint64_t{1} << 30;

// A machine that is well set up but for what the test changes afterwards.
inline DoctorInput Healthy(const testing::CapturedTree& tree) {
  tree.Write("proc/sys/kernel/numa_balancing", "0\n");
  DoctorInput input;
  input.root = tree.root();
  input.topology = numa::ReadTopology(tree.root());
  input.kernels = {{"avx2", "AVX2, FMA, F16C", true, true}, {"ref", "nothing", true, false}};
  input.isa_present = {"AVX2", "FMA"};
  input.isa_absent = {"AMX-INT8"};
  input.mpirun_version = "mpirun (Open MPI) 4.1.4";
  input.mpi_components = {"pml ob1", "btl self", "btl vader"};
  input.shm_bytes = 64 * kGib;
  return input;
}

inline Finding Find(const DoctorInput& input, const std::string& topic) {
  for (const Finding& finding : Diagnose(input).findings) {
    if (finding.topic == topic) return finding;
  }
  ADD_FAILURE() << "no finding about " << topic;
  return {};
}

inline void ExpectFinding(const DoctorInput& input, const std::string& topic, Level level,
                          const std::string& found, const std::string& advice) {
  const Finding finding = Find(input, topic);
  EXPECT_EQ(finding.level, level) << topic << ": " << finding.found;
  EXPECT_THAT(finding.found, ::testing::HasSubstr(found)) << topic;
  EXPECT_THAT(finding.advice, ::testing::HasSubstr(advice)) << topic;
}

}  // namespace onecopy::report
