#include "runtime/base/sizes.h"

#include <gtest/gtest.h>

#include "runtime/base/error.h"

namespace onecopy {
namespace {

TEST(Sizes, UnitsArePowersOfThousandAndOf1024) {
  EXPECT_EQ(ParseBytes("17"), 17u);
  EXPECT_EQ(ParseBytes("64G"), 64000000000u);
  EXPECT_EQ(ParseBytes("64GB"), 64000000000u);
  EXPECT_EQ(ParseBytes("1.5GiB"), 1610612736u);
  EXPECT_EQ(ParseBytes("2m"), 2000000u);
}

TEST(Sizes, AnythingElseIsAUsageError) {
  for (const char* text : {"", "G", "1X", "1GG", "-1G", "nan", "1e30T", "1i"}) {
    try {
      ParseBytes(text);
      FAIL() << text;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), ErrorCode::kUsage) << text;
    }
  }
}

}  // namespace
}  // namespace onecopy
