#include "runtime/base/check.h"

#include <gtest/gtest.h>

namespace onecopy {
namespace {

TEST(Check, MulIsEmptyOnOverflow) {
  EXPECT_EQ(CheckedMul(1ull << 32, 1ull << 31), 1ull << 63);
  EXPECT_FALSE(CheckedMul(1ull << 32, 1ull << 32));
}

TEST(Check, AddIsEmptyOnOverflow) {
  EXPECT_EQ(CheckedAdd(UINT64_MAX, 0), UINT64_MAX);
  EXPECT_FALSE(CheckedAdd(UINT64_MAX, 1));
}

TEST(Check, FailedCheckThrowsInternalError) {
  try {
    ONECOPY_CHECK(1 + 1 == 3);
    FAIL() << "did not throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kInternal);
    EXPECT_NE(std::string(e.what()).find("1 + 1 == 3"), std::string::npos);
  }
}

}  // namespace
}  // namespace onecopy
