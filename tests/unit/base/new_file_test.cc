#include "runtime/base/new_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <set>
#include <string>

#include "runtime/base/error.h"
#include "runtime/base/file.h"

namespace onecopy {
namespace {

class NewFileTest : public ::testing::Test {
 protected:
  NewFileTest() {
    std::string name = (std::filesystem::temp_directory_path() / "onecopy-new-XXXXXX").string();
    folder_ = mkdtemp(name.data());
    path_ = folder_ / "out";
  }
  ~NewFileTest() override { std::filesystem::remove_all(folder_); }

  ptrdiff_t Files() const { return std::distance(std::filesystem::directory_iterator(folder_), {}); }

  std::filesystem::path folder_, path_;
};

TEST_F(NewFileTest, IsThereWholeOrNotAtAll) {
  WriteFile(path_, "old");
  {
    NewFile file(path_, 3);
    file.Write("half", 4);
    EXPECT_EQ(ReadTextFile(path_), "old");
  }
  EXPECT_EQ(ReadTextFile(path_), "old");
  EXPECT_EQ(Files(), 1);
  NewFile file(path_, 3);
  file.Write("new", 3);
  file.PadTo(5);
  file.Finish();
  EXPECT_EQ(ReadTextFile(path_), std::string("new\0\0", 5));
  EXPECT_EQ(Files(), 1);
}

TEST_F(NewFileTest, MoreBytesThanTheFileSystemHasAreRefusedAtOnce) {
  try {
    const NewFile file(path_, uint64_t{1} << 60);
    FAIL() << "nothing was refused";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kBadInput);
    EXPECT_NE(std::string(e.what()).find("/out: 1152921504606846976 bytes are needed"), std::string::npos)
        << e.what();
  }
  EXPECT_EQ(Files(), 0);
}

TEST_F(NewFileTest, ASignalThatEndsTheProcessRemovesWhatIsNotFinished) {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const pid_t child = fork();
    if (child == 0) {
      std::signal(signal, SIG_DFL);  // what runs in the background may be told to ignore it
      NewFile one(path_, 0), other(path_.string() + "2", 0);
      one.Write("half", 4);
      raise(signal);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == signal) << status;
    EXPECT_EQ(Files(), 0) << "signal " << signal;
  }
}

// Runs `act` in a child, which must kill itself by SIGKILL; its PID.
template <typename Act>
pid_t Killed(const Act& act) {
  const pid_t child = fork();
  if (child == 0) {
    act();
    raise(SIGKILL);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  return child;
}

TEST_F(NewFileTest, WhatAKilledProcessLeftIsRemovedByTheNextOneOfTheSameName) {
  const pid_t dead = Killed([&] {
    NewFile file(path_, 0);
    file.Write("half", 4);
    raise(SIGKILL);  // before the destructor runs
  });
  const std::string left = fmt::format("{}.{}.part", path_.string(), dead);
  ASSERT_EQ(ReadTextFile(left), "half");
  { const NewFile other(path_.string() + "2", 0); }
  EXPECT_TRUE(std::filesystem::exists(left)) << "removed for another file";
  const NewFile file(path_, 0);
  EXPECT_FALSE(std::filesystem::exists(left));
}

TEST_F(NewFileTest, OnlyPartsOfTheDeadAreRemoved) {
  const std::string out = path_.string();
  const pid_t dead = Killed([] {});
  // Of a live process; of the dead, but no part of this file; of the dead, but held by a live one (as of another container).
  const std::string held = fmt::format("{}.{}.part", out, dead);
  const std::set<std::string> kept = {fmt::format("{}.{}.part", out, getppid()),
                                      fmt::format("{}.{}.parts", out, dead),
                                      fmt::format("{}.{}x.part", out, dead),
                                      fmt::format("{}.-{}.part", out, dead),
                                      fmt::format("{}..part", out),
                                      fmt::format("{}x.{}.part", out, dead),
                                      held};
  for (const std::string& name : kept) WriteFile(name, "kept");
  const int fd = open(held.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
  { const NewFile file(path_, 0); }
  for (const std::string& name : kept) EXPECT_TRUE(std::filesystem::exists(name)) << name;
  close(fd);
  { const NewFile file(path_, 0); }
  EXPECT_FALSE(std::filesystem::exists(held)) << "it is held no more";
  EXPECT_EQ(Files(), static_cast<ptrdiff_t>(kept.size()) - 1);
}

// In two containers that share a folder the same PID writes the same file.
TEST_F(NewFileTest, APartThatAnotherProcessHoldsIsLeftAlone) {
  const std::string part = fmt::format("{}.{}.part", path_.string(), getpid());
  WriteFile(part, "of another");
  const int fd = open(part.c_str(), O_RDONLY | O_CLOEXEC);
  ASSERT_EQ(flock(fd, LOCK_EX | LOCK_NB), 0);
  try {
    const NewFile file(path_, 0);
    FAIL() << "nothing was refused";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), ErrorCode::kBadInput);
    EXPECT_NE(std::string(e.what()).find("/out: is being written by another process, which holds " + part),
              std::string::npos)
        << e.what();
  }
  EXPECT_EQ(ReadTextFile(part), "of another");
  close(fd);
  NewFile file(path_, 0);
  file.Write("mine", 4);
  file.Finish();
  EXPECT_EQ(ReadTextFile(path_), "mine");
}

TEST_F(NewFileTest, LeavesSignalsAsTheyWere) {
  const auto handler = [](int) {};
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, handler);
  std::signal(SIGHUP, SIG_IGN);
  { const NewFile file(path_, 0); }
  EXPECT_EQ(std::signal(SIGINT, SIG_DFL), SIG_DFL);
  EXPECT_EQ(std::signal(SIGTERM, SIG_DFL), static_cast<void (*)(int)>(handler));
  EXPECT_EQ(std::signal(SIGHUP, SIG_DFL), SIG_IGN);
}

}  // namespace
}  // namespace onecopy
