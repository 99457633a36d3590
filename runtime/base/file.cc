#include "runtime/base/file.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>

#include "runtime/base/error.h"
#include "runtime/base/new_file.h"

namespace onecopy {

std::string ReadTextFile(const std::string& path) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"), std::fclose);
  if (!file) Fail(ErrorCode::kBadInput, "cannot open {}: {}", path, std::strerror(errno));
  std::string text;
  char buffer[1 << 16];
  while (const size_t n = std::fread(buffer, 1, sizeof(buffer), file.get())) text.append(buffer, n);
  if (std::ferror(file.get())) Fail(ErrorCode::kBadInput, "cannot read {}: {}", path, std::strerror(errno));
  return text;
}

void WriteFile(const std::string& path, const std::string& text) {
  struct stat st;
  if (stat(path.c_str(), &st) != 0 || S_ISREG(st.st_mode)) {
    NewFile file(path, text.size());
    file.Write(text.data(), text.size());
    return file.Finish();
  }
  // A pipe or device is written as it is: renaming over it would replace it.
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (!file) Fail(ErrorCode::kBadInput, "{}: cannot be opened: {}", path, std::strerror(errno));
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const int error = errno;
  if (std::fclose(file) != 0 || !written)
    Fail(ErrorCode::kBadInput, "{}: cannot be written: {}", path, std::strerror(written ? errno : error));
}

std::string FindShipped(std::initializer_list<const char*> names) {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? "" : FindShipped(program.parent_path().string(), names);
}

std::string FindShipped(const std::string& folder, std::initializer_list<const char*> names) {
  namespace fs = std::filesystem;
  for (fs::path at = folder;; at = at.parent_path()) {
    std::error_code error;
    const fs::perms mode = fs::status(at, error).permissions();
    constexpr fs::perms kShared = fs::perms::others_write | fs::perms::sticky_bit;
    if (error || (mode & kShared) == kShared) return "";
    for (const char* name : names)
      if (fs::exists(at / name, error)) return (at / name).string();
    if (at == at.root_path()) return "";
  }
}

}  // namespace onecopy
