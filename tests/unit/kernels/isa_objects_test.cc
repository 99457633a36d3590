// The object files of ISA folders define nothing that other code could end up calling: an inline function
// emitted there with AVX instructions may be the copy that the linker keeps for everybody, and crash an older
// CPU. And no object outside those folders holds AVX instructions. Read with nm and objdump, as the linker
// and the CPU would see them.
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <string>
#include <vector>

namespace {

constexpr const char* kIsaFolders[] = {"avx2", "avx512", "amx"};

std::vector<std::string> Lines(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  EXPECT_NE(pipe, nullptr) << command;
  std::vector<std::string> lines(1);
  for (int c; (c = std::getc(pipe)) != EOF;) {
    if (c == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += static_cast<char>(c);
    }
  }
  EXPECT_EQ(pclose(pipe), 0) << command;
  lines.pop_back();
  return lines;
}

// Objects of the library: those of one ISA folder, or with "" those outside all of them.
std::vector<std::string> Objects(const std::string& folder) {
  std::ifstream in(ONECOPY_KERNEL_OBJECTS);
  EXPECT_TRUE(in) << ONECOPY_KERNEL_OBJECTS;
  std::vector<std::string> objects;
  for (std::string path; std::getline(in, path);) {
    const std::string inside = path.substr(path.find("onecopy_kernels.dir"));
    std::string isa;
    for (const char* name : kIsaFolders) {
      if (inside.find("/" + std::string(name) + "/") != std::string::npos) isa = name;
    }
    if (isa == folder) objects.push_back(path);
  }
  return objects;
}

// Symbols of the object that are weak, or global outside `name_space`.
std::vector<std::string> Offenders(const std::string& object, const std::string& name_space) {
  std::vector<std::string> offenders;
  for (const std::string& line : Lines(std::string(ONECOPY_NM) + " -C -g --defined-only '" + object + "'")) {
    // "0000000000000000 T onecopy::kernels::…"
    if (line.size() < 20) continue;
    const bool strong = std::string("TDBR").find(line[17]) != std::string::npos;
    if (!strong || line.compare(19, name_space.size(), name_space) != 0) offenders.push_back(line.substr(17));
  }
  return offenders;
}

bool UsesWideRegisters(const std::string& object) {
  for (const std::string& line :
       Lines(std::string(ONECOPY_OBJDUMP) + " -d --no-show-raw-insn '" + object + "'")) {
    if (line.find("%ymm") != std::string::npos || line.find("%zmm") != std::string::npos) return true;
  }
  return false;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ONECOPY_SKIP_IF_SANITIZED GTEST_SKIP() << "sanitizers add symbols of their own to every object"
#else
#define ONECOPY_SKIP_IF_SANITIZED
#endif

TEST(IsaObjects, DefineOnlyTheirOwnNamespace) {
  ONECOPY_SKIP_IF_SANITIZED;
  for (const char* isa : kIsaFolders) {
    const std::vector<std::string> objects = Objects(isa);
    ASSERT_GE(objects.size(), 4u) << isa;
    for (const std::string& object : objects) {
      for (const std::string& offender : Offenders(object, "onecopy::kernels::" + std::string(isa) + "::")) {
        ADD_FAILURE() << object << " defines " << offender;
      }
    }
  }
}

// The check itself sees what it is there for: plain objects do hold weak std functions and other names.
TEST(IsaObjects, TheCheckSeesWeakSymbols) {
  size_t weak = 0;
  for (const std::string& object : Objects("")) {
    for (const std::string& offender : Offenders(object, "onecopy::kernels::avx2::"))
      weak += offender[0] == 'W';
  }
  EXPECT_GT(weak, 0u);
}

TEST(IsaObjects, OnlyIsaFoldersUseWideRegisters) {
  const std::vector<std::string> plain = Objects("");
  ASSERT_GE(plain.size(), 15u);
  for (const std::string& object : plain) EXPECT_FALSE(UsesWideRegisters(object)) << object;
  for (const char* isa : kIsaFolders) {
    size_t wide = 0;
    for (const std::string& object : Objects(isa)) wide += UsesWideRegisters(object);
    EXPECT_GT(wide, 0u) << isa;
  }
}

}  // namespace
