#include "runtime/base/printable.h"

#include <gtest/gtest.h>

namespace onecopy {
namespace {

TEST(Printable, HasNoControlCharactersAndAnEnd) {
  EXPECT_EQ(Printable("é\x1B[2J\n\xC2\x85\xFF"), "é\\x1b[2J\\x0a\\xc2\\x85\\xff");
  EXPECT_EQ(Printable(std::string(1000, 'x')), std::string(80, 'x') + "…");
}

TEST(Printable, KnowsUtf8) {
  EXPECT_TRUE(IsUtf8("é€😀"));
  for (const char* wrong : {"\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xE2\x82", "\x80"})
    EXPECT_FALSE(IsUtf8(wrong));
}

}  // namespace
}  // namespace onecopy
