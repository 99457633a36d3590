// Binding, arenas and their residency on the machine that runs the test, over every node that can hold a rank: one on
// a build machine, all of them in a guest with emulated nodes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numaif.h>
#include <sys/mman.h>

#include <cstring>
#include <functional>
#include <numeric>
#include <thread>

#include "runtime/base/error.h"
#include "runtime/numa/arena.h"
#include "runtime/numa/binding.h"
#include "runtime/numa/policy.h"
#include "runtime/numa/residency.h"
#include "runtime/numa/sysfs.h"
#include "runtime/numa/topology.h"

namespace onecopy::numa {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uint64_t kMib = uint64_t{1} << 20;
constexpr int kNoSuchNode = 77;

// In a thread of its own: bindings are per thread, so the test leaves the others as they are.
void InThread(const std::function<void()>& body) {
  std::thread(body).join();
}

void ExpectError(ErrorCode code, const ::testing::Matcher<const std::string&>& text,
                 const std::function<void()>& body) {
  try {
    body();
    ADD_FAILURE() << "did not throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), code);
    EXPECT_THAT(e.what(), text);
  }
}

// Skips, by name, where the kernel refuses what the test is about.
#define SKIP_WITHOUT_MEMPOLICY()                                                                            \
  do {                                                                                                      \
    int mode = 0;                                                                                           \
    if (get_mempolicy(&mode, nullptr, 0, nullptr, 0) != 0) GTEST_SKIP() << "get_mempolicy is refused here"; \
  } while (false)

TEST(Binding, ThreadAndItsMemoryAreBoundToEachNodeInTurn) {
  SKIP_WITHOUT_MEMPOLICY();
  for (const Place& place : FindPlaces(ReadTopology())) {
    InThread([&] {
      std::vector<int> cpus = CpuIds(place.cpus, true);
      BindProcess(cpus, place.nodes);
      std::sort(cpus.begin(), cpus.end());
      EXPECT_EQ(CurrentCpus(), cpus);
      int mode = -1;
      std::vector<unsigned long> mask(16);
      ASSERT_EQ(get_mempolicy(&mode, mask.data(), 1025, nullptr, 0), 0);
      EXPECT_EQ(mode, MPOL_BIND);
      EXPECT_EQ(mask[static_cast<size_t>(place.id) / 64], 1ul << (place.id % 64));
      // What this thread touches now lies on the node, arena or not.
      void* page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      ASSERT_NE(page, MAP_FAILED);
      std::memset(page, 1, 4096);
      EXPECT_EQ(AuditResidency(page, 4096).ShareOn(place.id), 1);
      munmap(page, 4096);
    });
  }
}

TEST(Binding, WithoutMemoryLeavesThePolicyAlone) {
  SKIP_WITHOUT_MEMPOLICY();
  const Place place = FindPlaces(ReadTopology()).front();
  InThread([&] {
    BindProcess(CpuIds(place.cpus, false), {});
    int mode = -1;
    ASSERT_EQ(get_mempolicy(&mode, nullptr, 0, nullptr, 0), 0);
    EXPECT_EQ(mode, MPOL_DEFAULT);
  });
}

TEST(Binding, MemoryOfANodeThatDoesNotExistIsRefusedByName) {
  const Place place = FindPlaces(ReadTopology()).front();
  InThread([&] {
    ExpectError(ErrorCode::kCommunication, AllOf(HasSubstr("node 77"), HasSubstr("set_mempolicy")),
                [&] { BindProcess(CpuIds(place.cpus, false), {kNoSuchNode}); });
  });
}

TEST(Binding, CpuThatDoesNotExistIsRefusedByName) {
  const std::vector<int> before = CurrentCpus();
  InThread([] {
    ExpectError(ErrorCode::kCommunication, AllOf(HasSubstr("CPU 8001"), HasSubstr("Invalid argument")),
                [] { PinThread(8001); });
  });
  EXPECT_EQ(CurrentCpus(), before);
}

// The kernel cuts the set down to the CPUs that exist and reports success: only reading back shows it.
TEST(Binding, PartlyPossibleCpuSetIsAnErrorThoughTheKernelAcceptsIt) {
  const Place place = FindPlaces(ReadTopology()).front();
  InThread([&] {
    const int cpu = place.cpus.front().id;
    ExpectError(ErrorCode::kCommunication, HasSubstr("expected CPUs " + std::to_string(cpu) + ",8001"), [&] {
      BindProcess({cpu, 8001}, {});
    });
  });
}

TEST(Binding, PinnedThreadRunsOnItsCpuAlone) {
  const Place place = FindPlaces(ReadTopology()).back();
  for (const Cpu& cpu : place.cpus) {
    InThread([&] {
      PinThread(cpu.id);
      EXPECT_EQ(CurrentCpus(), std::vector<int>{cpu.id});
      EXPECT_EQ(sched_getcpu(), cpu.id);
    });
  }
}

TEST(Arena, UntouchedPagesAreNotResident) {
  const Arena arena("weights", 8 * kMib, 0);
  const Residency residency = AuditResidency(arena.data(), arena.bytes());
  EXPECT_EQ(residency.resident_bytes, 0u);
  EXPECT_EQ(residency.huge_bytes, 0u);
  EXPECT_EQ(residency.ShareOn(0), 1);
}

TEST(Arena, PagesLieOnItsNodeWhereverTheWriterRuns) {
  const std::vector<Place> places = FindPlaces(ReadTopology());
  for (size_t i = 0; i < places.size(); ++i) {
    const Place& writer = places[(i + 1) % places.size()];
    const int node = places[i].id;
    const Arena arena("weights", 8 * kMib, node);
    InThread([&] {
      BindProcess(CpuIds(writer.cpus, false), {});
      std::memset(arena.data(), 1, arena.bytes());
    });
    const Residency residency = AuditArena(arena);
    EXPECT_EQ(residency.resident_bytes, arena.bytes());
    EXPECT_EQ(residency.node_bytes, (std::map<int, uint64_t>{{node, arena.bytes()}}));
    EXPECT_EQ(residency.ShareOn(node), 1);
    EXPECT_EQ(residency.ShareInPlace(), 1);
    EXPECT_EQ(residency.ShareOn(kNoSuchNode), 0);
  }
}

TEST(Arena, EachExtentLiesOnItsOwnNode) {
  const std::vector<Place> places = FindPlaces(ReadTopology());
  std::vector<Extent> extents;
  std::map<int, uint64_t> expected;
  for (size_t i = 0; i < 6; ++i) {
    extents.push_back({places[i % places.size()].id, 2 * kMib});
    expected[extents.back().node] += 2 * kMib;
  }
  const Arena arena("weights", extents);
  std::memset(arena.data(), 1, arena.bytes());
  const Residency residency = AuditArena(arena);
  EXPECT_EQ(residency.node_bytes, expected);
  EXPECT_EQ(residency.misplaced_bytes, 0u);
}

TEST(Arena, MisplacedPagesAreSeen) {
  SKIP_WITHOUT_MEMPOLICY();
  const std::vector<Place> places = FindPlaces(ReadTopology());
  if (places.size() < 2) GTEST_SKIP() << "needs two NUMA nodes";
  const Arena arena("weights", 2 * kMib, places[0].id);
  std::memset(arena.data(), 1, arena.bytes());
  std::vector<void*> pages(16);
  for (size_t i = 0; i < pages.size(); ++i) pages[i] = arena.data() + i * 4096;
  madvise(arena.data(), arena.bytes(), MADV_NOHUGEPAGE);
  const std::vector<int> targets(pages.size(), places[1].id);
  std::vector<int> status(pages.size());
  ASSERT_EQ(move_pages(0, pages.size(), pages.data(), targets.data(), status.data(), MPOL_MF_MOVE), 0);
  const Residency residency = AuditArena(arena);
  EXPECT_GE(residency.misplaced_bytes, 16u * 4096);
  EXPECT_LT(residency.ShareInPlace(), 1);
}

TEST(Arena, EmptyPoolIsNoMemoryAndSaysHowToRaiseIt) {
  const int node = FindPlaces(ReadTopology()).front().id;
  const std::string pool =
      "/sys/devices/system/node/node" + std::to_string(node) + "/hugepages/hugepages-2048kB/free_hugepages";
  if (ReadNumber("", pool).value_or(1) != 0)
    GTEST_SKIP() << "needs a node whose pool of 2 MiB pages is empty";
  ExpectError(ErrorCode::kNoMemory,
              AllOf(HasSubstr("weights"), HasSubstr("0 free huge pages of"),
                    HasSubstr("echo 4 | sudo tee /sys/devices/system/node/node")),
              [&] {
                Arena("weights", {{node, 8 * kMib}}, {.pages = HugePages::k2M});
              });
}

TEST(Arena, LockedPagesAreCountedAsLocked) {
  const Arena arena("weights", {{-1, 2 * kMib}}, {.pages = HugePages::kOff, .lock = true});
  arena.data()[0] = 1;
  const auto locked = StatusValue(ReadText("", "proc/self/status").value_or(""), "VmLck");
  ASSERT_TRUE(locked);
  EXPECT_EQ(locked->rfind("0 ", 0), std::string::npos) << *locked;
}

TEST(Arena, SmallPagesWhereHugeOnesAreSwitchedOff) {
  const Arena arena("weights", {{-1, 8 * kMib}}, {.pages = HugePages::kOff});
  std::memset(arena.data(), 1, arena.bytes());
  EXPECT_EQ(AuditArena(arena).huge_bytes, 0u);
}

TEST(Arena, OnlyWrittenPagesAreCounted) {
  SKIP_WITHOUT_MEMPOLICY();  // without move_pages the zero page cannot be told from others
  const Arena arena("weights", 64 * kMib, 0);
  madvise(arena.data(), arena.bytes(), MADV_NOHUGEPAGE);  // else one byte makes 2 MiB resident
  for (const uint64_t page : {0, 1, 700, 16383}) arena.data()[page * 4096] = 1;
  volatile uint8_t read_only = arena.data()[5 * 4096];  // maps the shared zero page, which is nobody's
  EXPECT_EQ(read_only, 0);
  EXPECT_EQ(AuditResidency(arena.data(), arena.bytes()).resident_bytes, 4 * 4096u);
}

TEST(Arena, HugePagesAreSeenWhereTheKernelGivesThem) {
  std::FILE* file = std::fopen("/sys/kernel/mm/transparent_hugepage/enabled", "r");
  char mode[64] = {};
  const bool known = file != nullptr && std::fgets(mode, sizeof mode, file) != nullptr;
  if (file != nullptr) std::fclose(file);
  if (!known || std::strstr(mode, "[never]") != nullptr)
    GTEST_SKIP() << "transparent huge pages are off here";
  const Arena arena("weights", 32 * kMib, 0);
  std::memset(arena.data(), 1, arena.bytes());
  const Residency residency = AuditResidency(arena.data(), arena.bytes());
  EXPECT_GT(residency.huge_bytes, 0u);
  EXPECT_LE(residency.huge_bytes, arena.bytes());
}

TEST(Arena, SizeIsRoundedUpToHugePagesAndAligned) {
  for (const uint64_t bytes : {uint64_t{1}, 2 * kMib, 2 * kMib + 1}) {
    const Arena arena("kv", bytes, -1);
    EXPECT_EQ(arena.bytes(), (bytes + 2 * kMib - 1) / (2 * kMib) * 2 * kMib);
    EXPECT_EQ(reinterpret_cast<uint64_t>(arena.data()) % (2 * kMib), 0u);
    EXPECT_TRUE(arena.extents().empty() || arena.extents()[0].node == -1);
  }
}

TEST(Arena, NothingIsANothing) {
  const Arena arena("kv", 0, 0);
  EXPECT_EQ(arena.bytes(), 0u);
  EXPECT_EQ(AuditResidency(arena.data(), 0).resident_bytes, 0u);
}

TEST(Arena, MoveLeavesOneOwner) {
  Arena first("weights", 2 * kMib, 0);
  first.data()[0] = 42;
  Arena second(std::move(first));
  EXPECT_EQ(second.data()[0], 42);
  Arena third("kv", 2 * kMib, -1);
  third = std::move(second);
  EXPECT_EQ(third.data()[0], 42);
  ASSERT_EQ(third.extents().size(), 1u);
  EXPECT_EQ(third.extents()[0].node, 0);
  EXPECT_EQ(second.data(), nullptr);  // NOLINT(bugprone-use-after-move): the state after a move is stated
}

TEST(Arena, TooLargeIsNoMemoryAndNamesPurposeBytesAndNode) {
  for (const uint64_t bytes : {uint64_t{1} << 61, UINT64_MAX}) {
    ExpectError(ErrorCode::kNoMemory,
                AllOf(HasSubstr("weights"), HasSubstr(std::to_string(bytes)), HasSubstr("node 0")),
                [&] { Arena("weights", bytes, 0); });
  }
}

TEST(Arena, NodeThatDoesNotExistIsRefusedByName) {
  ExpectError(ErrorCode::kCommunication,
              AllOf(HasSubstr("weights"), HasSubstr("2097152"), HasSubstr("node 77")),
              [] { Arena("weights", 2 * kMib, kNoSuchNode); });
}

TEST(ArenaDeathTest, WriteBehindTheEndFaultsInsteadOfHittingANeighbour) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        const Arena arena("weights", 2 * kMib, -1);
        const Arena neighbour("kv", 2 * kMib, -1);
        volatile uint8_t* end = arena.data() + arena.bytes();
        *end = 1;
      },
      "");
}

TEST(Residency, RangeThatBeginsInsideAPageIsRejected) {
  const Arena arena("weights", 2 * kMib, -1);
  ExpectError(ErrorCode::kInternal, HasSubstr("begin at a page"),
              [&] { AuditResidency(arena.data() + 64, 4096); });
}

TEST(Residency, PagesBeyondOneBatchAreAllAsked) {
  const Arena arena("weights", 16384ull * 4096 + 2 * kMib, 0);
  madvise(arena.data(), arena.bytes(), MADV_NOHUGEPAGE);
  for (const uint64_t page : {16383, 16384, 16800}) arena.data()[page * 4096] = 1;
  EXPECT_EQ(AuditResidency(arena.data(), arena.bytes()).resident_bytes, 3 * 4096u);
}

TEST(Policy, RefusalIsHarmlessOnlyForTheOnlyNode) {
  const std::vector<int> nodes = MemoryNodes();
  ASSERT_FALSE(nodes.empty());
  EXPECT_EQ(RefusalIsHarmless(EPERM, nodes[0]), nodes.size() == 1);
  EXPECT_EQ(RefusalIsHarmless(ENOSYS, nodes[0]), nodes.size() == 1);
  EXPECT_FALSE(RefusalIsHarmless(EPERM, kNoSuchNode));
  EXPECT_FALSE(RefusalIsHarmless(EINVAL, nodes[0]));
}

TEST(Policy, RefusedCallSaysWhatToAllow) {
  EXPECT_THAT(Explain(EPERM, 0),
              AllOf(HasSubstr("SYS_NICE"), HasSubstr("move_pages"), HasSubstr("--bind none")));
  EXPECT_THAT(Explain(ENOSYS, 0), HasSubstr("CONFIG_NUMA"));
  EXPECT_THAT(Explain(EINVAL, kNoSuchNode), HasSubstr("77"));
}

}  // namespace
}  // namespace onecopy::numa
