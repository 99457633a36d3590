#include "tests/fuzz/support.h"

#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "runtime/base/log.h"
#include "runtime/base/printable.h"

// Of sanitizer/allocator_interface.h, which g++ has not, though its library has them.
// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*allocated)(const volatile void*, size_t),
                                                         void (*freed)(const volatile void*));
extern "C" size_t __sanitizer_get_allocated_size(const volatile void* pointer);
// NOLINTEND(bugprone-reserved-identifier)

namespace onecopy::fuzz {
namespace {

std::atomic<int64_t> held{0}, most{0};
std::atomic<bool> counting{false};

void OnAllocate(const volatile void*, size_t bytes) {
  if (!counting) return;
  const int64_t now = held += static_cast<int64_t>(bytes);
  if (now > most) most = now;
}
void OnFree(const volatile void* pointer) {
  if (counting && pointer != nullptr)
    held -= static_cast<int64_t>(__sanitizer_get_allocated_size(const_cast<void*>(pointer)));
}

double ProcessorSeconds() {
  timespec now;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

void Broken(const std::string& what) {
  std::fprintf(stderr, "BROKEN: %s\n", what.c_str());
  std::abort();
}

Budget::Budget(double seconds, size_t bytes) : seconds_(seconds), bytes_(bytes), begin_(ProcessorSeconds()) {
  static const bool installed = __sanitizer_install_malloc_and_free_hooks(OnAllocate, OnFree) != 0;
  Require(installed, "the sanitizer takes no hooks for malloc");
  held = most = 0;
  counting = true;
}
Budget::~Budget() {
  counting = false;
  const double seconds = ProcessorSeconds() - begin_;
  Require(seconds <= seconds_, "an input took {:.1f} s of processor time, {:.1f} are allowed", seconds,
          seconds_);
  Require(most <= static_cast<int64_t>(bytes_), "an input took {} bytes of memory, {} are allowed",
          most.load(), bytes_);
}

bool Takes(const std::function<void()>& read, std::string_view place,
           std::initializer_list<ErrorCode> codes) {
  try {
    read();
    return true;
  } catch (const Error& error) {
    const std::string_view message = error.what();
    Require(std::find(codes.begin(), codes.end(), error.code()) != codes.end(), "refused with code {}: {}",
            static_cast<int>(error.code()), message);
    Require(message.size() > 10 && message.size() < 8000, "a message of {} bytes: {}", message.size(),
            message.substr(0, 400));
    Require(Printable(message, SIZE_MAX) == message, "the message is not fit to be printed: {}",
            Printable(message, SIZE_MAX));
    Require(message.find(place) != std::string_view::npos, "the message does not name {}: {}", place,
            message);
    return false;
  }
}

MemoryFile::MemoryFile() : fd_(memfd_create("fuzz", MFD_CLOEXEC)) {
  Require(fd_ >= 0, "no memory file");
  // Not /proc/self, which is another process's in a child.
  path_ = fmt::format("/proc/{}/fd/{}", getpid(), fd_);
}
MemoryFile::~MemoryFile() {
  close(fd_);
}

void MemoryFile::Write(std::string_view content) {
  Require(ftruncate(fd_, static_cast<off_t>(content.size())) == 0 &&
              pwrite(fd_, content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()),
          "a memory file cannot be written");
}

MemoryDirectory::MemoryDirectory(std::vector<std::string> names)
    : names_(std::move(names)), files_(names_.size()), there_(names_.size()) {
  std::string pattern = (std::filesystem::temp_directory_path() / "onecopy-fuzz-XXXXXX").string();
  Require(mkdtemp(pattern.data()) != nullptr, "{} cannot be made", pattern);
  path_ = pattern;
}
MemoryDirectory::~MemoryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

void MemoryDirectory::Write(size_t file, std::string_view content) {
  files_[file].Write(content);
  if (there_[file] == !content.empty()) return;
  there_[file] = !content.empty();
  const std::string link = path_ + "/" + names_[file];
  const bool done =
      content.empty() ? unlink(link.c_str()) == 0 : symlink(files_[file].path().c_str(), link.c_str()) == 0;
  Require(done, "{} cannot be changed", link);
}

std::vector<std::string_view> Parts(std::string_view input, size_t parts) {
  constexpr std::string_view kMark = "\n%%\n";
  std::vector<std::string_view> out;
  while (out.size() + 1 < parts) {
    const size_t at = input.find(kMark);
    if (at == std::string_view::npos) break;
    out.push_back(input.substr(0, at));
    input.remove_prefix(at + kMark.size());
  }
  out.push_back(input);
  out.resize(parts);
  return out;
}

}  // namespace onecopy::fuzz

// The log would be most of the time, and says what the messages of refusals say.
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  spdlog::set_level(spdlog::level::off);
  return 0;
}
