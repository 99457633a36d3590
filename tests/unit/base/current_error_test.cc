#include "runtime/base/current_error.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <new>
#include <system_error>

namespace onecopy {
namespace {

template <typename Thrown>
Error Handled(const Thrown& thrown) {
  try {
    throw thrown;
  } catch (...) {
    return CurrentError("planning");
  }
}

TEST(CurrentError, SaysWhatWasMissingAndWhatToDo) {
  const Error own = Handled(Error(ErrorCode::kUsage, "wrong"));
  EXPECT_EQ(own.code(), ErrorCode::kUsage);
  EXPECT_STREQ(own.what(), "wrong");
  const Error memory = Handled(std::bad_alloc());
  EXPECT_EQ(memory.code(), ErrorCode::kNoMemory);
  EXPECT_EQ(std::string(memory.what()).find("out of memory while planning; use fewer ranks"), 0u)
      << memory.what();
  const Error thread = Handled(std::system_error(EAGAIN, std::generic_category()));
  EXPECT_EQ(thread.code(), ErrorCode::kNoMemory);
  EXPECT_EQ(std::string(thread.what()).find("no thread could be started while planning"), 0u)
      << thread.what();
  const Error bug = Handled(std::out_of_range("index"));
  EXPECT_EQ(bug.code(), ErrorCode::kInternal);
  EXPECT_EQ(std::string(bug.what()).find("index while planning; this is a bug"), 0u) << bug.what();
}

}  // namespace
}  // namespace onecopy
