// A rank of an MPI job that tests the communicator of real processes. First argument:
//   collectives  every operation against what it should give; rank 0 prints a digest of the bits of all sums
//   calls N      N all-reduces of all kinds and sizes with random delays, every value checked
//   loop         all-reduces without end, for a tester that stops or kills a rank; prints "rank R pid P" once it runs
//   agree        rank 1, or 0 when alone, fails to set up: all end with exit code 3
//   abandon      rank 1 throws inside the loop: all end with exit code 5
//   receive      rank 0 waits for a message that the last rank never sends, the others for rank 0
//   split        ranks split off parts and drop them, without end
//   idle S       rank 0 broadcasts after S seconds, ten times; prints CPU time of the ranks and how late they woke
// Options after it: --mpi, --deadline S, --pretend-host R (ranks a host), --window BYTES.
// Ends as main() of onecopy does: errors go to stderr, AbortMpi has the exit code.
#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "runtime/comm/communicator.h"
#include "runtime/comm/wait.h"

namespace onecopy::comm {
namespace {

uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// Signs and exponents vary, so that another order of a sum shows in its bits.
float Term(int rank, uint64_t call, size_t index) {
  const uint64_t h = Mix(Mix(call * 64 + static_cast<uint64_t>(rank)) ^ index);
  const float mantissa = static_cast<float>(static_cast<int32_t>(h >> 40) - (1 << 23));
  return std::ldexp(mantissa, static_cast<int>(h & 15) - 31);
}

// The documented order: ranks of a host in order, then hosts in order. One host of all ranks: plain rank
// order.
float OrderedSum(int ranks, int per_host, uint64_t call, size_t index) {
  float total = 0;
  for (int first = 0; first < ranks; first += per_host) {
    float host = Term(first, call, index);
    for (int r = first + 1; r < std::min(ranks, first + per_host); ++r) host += Term(r, call, index);
    total = first == 0 ? host : total + host;
  }
  return total;
}

void Require(bool condition, const std::string& what) {
  if (!condition) Fail(ErrorCode::kInternal, "{}", what);
}

enum class Order { kDocumented, kAny };

// f64 terms are whole numbers, so any order gives the same bits, over several hosts and with MPI's own too.
void CheckDoubleSums(Communicator& comm) {
  for (const size_t n : {1, 17, 1000, 40'001}) {
    std::vector<double> x(n);
    const auto term = [&](int rank, size_t i) { return static_cast<double>(Mix(i * 64 + rank) >> 16); };
    for (size_t i = 0; i < n; ++i) x[i] = term(comm.rank(), i);
    comm.AllReduceRows(x, n, [&](size_t, const double* sums) {
      for (size_t i = 0; i < n; ++i) {
        double expected = 0;
        for (int r = 0; r < comm.size(); ++r) expected += term(r, i);
        Require(sums[i] == expected,
                fmt::format("f64 sum of {}, index {}: expected {}, found {}", n, i, expected, sums[i]));
      }
    });
  }
}

uint64_t CheckSums(Communicator& comm, int per_host, Order order) {
  uint64_t digest = 0;
  uint64_t call = 0;
  for (const size_t n : {0, 1, 3, 33, 127, 2048, 2049, 7168, 65537, 100'003}) {
    ++call;
    std::vector<float> storage(n + 3);
    float* x = storage.data() + comm.rank() % 3;
    for (size_t i = 0; i < n; ++i) x[i] = Term(comm.rank(), call, i);
    comm.AllReduceSum({x, n});
    for (size_t i = 0; i < n; ++i) {
      const float expected = OrderedSum(comm.size(), per_host, call, i);
      const auto bits = std::bit_cast<uint32_t>(x[i]);
      const bool same = order == Order::kDocumented ? bits == std::bit_cast<uint32_t>(expected)
                                                    : std::abs(expected - x[i]) <= 1e-3f * comm.size();
      Require(same, fmt::format("sum of {} floats, index {}: expected {}, found {}", n, i, expected, x[i]));
      digest = Mix(digest ^ bits);
    }
  }
  return digest;
}

// Parts of two colors with messages between them, as the stages of a pipeline use both.
void CheckParts(Communicator& comm) {
  const int color = comm.rank() % 2;
  const auto part = comm.Split(color);
  for (int call = 0; call < 20; ++call) {
    std::vector<float> x(5000, static_cast<float>(comm.rank()));
    part->AllReduceSum(x);
    float expected = 0;
    for (int r = color; r < comm.size(); r += 2) expected += static_cast<float>(r);
    Require(x.front() == expected && x.back() == expected,
            fmt::format("sum of color {}: expected {}, found {}", color, expected, x[0]));
    const int other = comm.rank() ^ 1;
    if (other >= comm.size()) continue;
    std::vector<uint8_t> out(100'000 * call + 1, static_cast<uint8_t>(comm.rank() * 16 + call)),
        in(out.size());
    if (color == 0) comm.Send(out, other);
    comm.Receive(in, other);
    if (color == 1) comm.Send(out, other);
    const auto byte = static_cast<uint8_t>(other * 16 + call);
    Require(in.front() == byte && in.back() == byte, fmt::format("message {} of rank {}", call, other));
  }
  comm.Barrier();
}

void CheckGathers(Communicator& comm) {
  const int ranks = comm.size();
  std::vector<uint32_t> bounds = {0};
  for (int r = 0; r < ranks; ++r) bounds.push_back(bounds.back() + (r % 3 == 1 ? 0 : 32 + r * 7 % 50));
  const size_t n_rows = 5, n_columns = bounds.back();
  // Exact in f32: rank, row and column can be read off a wrong value.
  const auto code = [](int rank, size_t row, uint32_t column) {
    return static_cast<float>((static_cast<size_t>(rank) * 8 + row) * 4096 + column);
  };
  std::vector<float> x(n_rows * n_columns, -1);
  for (size_t row = 0; row < n_rows; ++row) {
    for (uint32_t j = bounds[comm.rank()]; j < bounds[comm.rank() + 1]; ++j)
      x[row * n_columns + j] = code(comm.rank(), row, j);
  }
  comm.AllGatherColumns(x.data(), n_rows, bounds);
  for (int r = 0; r < ranks; ++r) {
    for (size_t row = 0; row < n_rows; ++row) {
      for (uint32_t j = bounds[r]; j < bounds[r + 1]; ++j) {
        Require(x[row * n_columns + j] == code(r, row, j),
                fmt::format("column {} of rank {}, row {}: found {}", j, r, row, x[row * n_columns + j]));
      }
    }
  }
  const auto bytes_of = [](int rank) {
    return std::vector<uint8_t>(static_cast<size_t>(rank * 1000 % 3001), rank + 1);
  };
  const auto all = comm.AllGatherBytes(bytes_of(comm.rank()));
  Require(all.size() == static_cast<size_t>(ranks), "a gather has one part a rank");
  for (int r = 0; r < ranks; ++r)
    Require(all[r] == bytes_of(r), fmt::format("the bytes of rank {} differ", r));
}

void CheckBroadcasts(Communicator& comm) {
  for (const size_t n : {0, 1, 100, 70'000, 3'000'000}) {
    for (const int root : {0, comm.size() - 1, comm.size() / 2}) {
      const std::vector<uint8_t> expected(n, static_cast<uint8_t>(n % 251 + root));
      std::vector<uint8_t> bytes = comm.rank() == root ? expected : std::vector<uint8_t>(5, 9);
      comm.Broadcast(&bytes, root);
      Require(bytes == expected, fmt::format("{} bytes from root {} differ", n, root));
    }
  }
}

// Parts lie on pages of their own, are seen by all ranks of the host, and no name of them is left in the file
// system.
void CheckSharedBuffer(Communicator& comm) {
  const auto buffer = comm.AllocateShared(10'000);
  Require(buffer.part.size() == static_cast<size_t>(comm.ranks_on_host()),
          "a shared buffer has one part a rank");
  for (int round = 0; round < 20; ++round) {
    memset(buffer.part[comm.rank_on_host()], round + comm.rank_on_host(), 10'000);
    comm.HostBarrier();
    for (int r = 0; r < comm.ranks_on_host(); ++r) {
      Require(buffer.part[r][0] == round + r && buffer.part[r][9'999] == round + r,
              fmt::format("part {} of the shared buffer is not what its rank wrote", r));
      Require(reinterpret_cast<uintptr_t>(buffer.part[r]) % 4096 == 0, "a part does not start on a page");
    }
    comm.HostBarrier();
  }
  if (comm.ranks_on_host() == 1) return;  // private memory
  const auto at = reinterpret_cast<uintptr_t>(buffer.part[comm.rank_on_host()]);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    unsigned long begin, end;
    if (sscanf(line.c_str(), "%lx-%lx", &begin, &end) != 2 || at < begin || at >= end) continue;
    Require(line.find("(deleted)") != std::string::npos,
            "the window has a name that a crash would leave: " + line);
    return;
  }
  Fail(ErrorCode::kInternal, "the shared buffer is in no mapping");
}

// Whole numbers that name rank and index; sums of up to 64 of them are exact in f32.
//
// Where other programs take CPUs away from ranks that spin, a call takes a time slice: enough calls are made then, not all.
void CheckManyCalls(Communicator& comm, uint64_t n_calls) {
  constexpr int64_t kEnoughNs = int64_t{30} * 1'000'000'000;
  constexpr uint64_t kBetweenLooks = 1000;
  const uint64_t enough_calls = n_calls / 50;
  const int64_t start = NowNs();
  std::mt19937 delays(static_cast<unsigned>(comm.rank()));
  std::vector<double> terms;
  std::vector<float> x;
  const auto value = [&](int rank, uint64_t call, size_t i) {
    return static_cast<float>((call * 31 + i * 7) % 4096 + static_cast<uint64_t>(rank) * 4096);
  };
  uint64_t call = 0;
  for (; call < n_calls; ++call) {
    if (call % kBetweenLooks == 0 && call >= enough_calls) {
      float late = NowNs() - start > kEnoughNs ? 1 : 0;
      comm.AllReduceSum({&late, 1});
      if (late > 0) break;
    }
    const uint64_t dice = Mix(call);  // the same on all ranks
    comm.UseTable({{{comm.size(), 1, SIZE_MAX, kAlgorithms[dice % 2]}}});
    const size_t n = dice / 2 % 256 == 0 ? 3000 : 1 + dice / 512 % 64;
    if (delays() % 4096 == 0) std::this_thread::sleep_for(std::chrono::microseconds(delays() % 200));
    if (delays() % 1024 == 0) std::this_thread::yield();
    const auto check = [&](size_t i, double found) {
      double expected = 0;
      for (int r = 0; r < comm.size(); ++r) expected += static_cast<double>(value(r, call, i));
      Require(found == expected,
              fmt::format("call {}, n {}, index {}: expected {}, found {}, off by rank {:.2f}", call, n, i,
                          expected, found, (expected - found) / 4096));
    };
    if (dice / (1 << 20) % 2 == 0) {
      x.resize(n);
      for (size_t i = 0; i < n; ++i) x[i] = value(comm.rank(), call, i);
      comm.AllReduceSum(x);
      for (size_t i = 0; i < n; ++i) check(i, static_cast<double>(x[i]));
    } else {
      terms.resize(n);
      for (size_t i = 0; i < n; ++i) terms[i] = static_cast<double>(value(comm.rank(), call, i));
      comm.AllReduceRows(terms, n, [&](size_t, const double* sums) {
        for (size_t i = 0; i < n; ++i) check(i, sums[i]);
      });
    }
  }
  if (comm.rank() == 0) fmt::print("{} calls\n", call);
}

int64_t ProcessCpuNs() {
  timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return t.tv_sec * int64_t{1'000'000'000} + t.tv_nsec;
}

// An idle rank waits in Broadcast, as it does between the requests of a server.
void CheckIdle(Communicator& comm, double seconds) {
  constexpr int kRounds = 10;
  const int64_t cpu_before = ProcessCpuNs(), start = NowNs();
  std::vector<double> late_us;
  for (int round = 0; round < kRounds; ++round) {
    if (comm.rank() == 0) std::this_thread::sleep_for(std::chrono::duration<double>(seconds / kRounds));
    std::vector<uint8_t> bytes(sizeof(int64_t));
    const int64_t sent = NowNs();
    std::memcpy(bytes.data(), &sent, sizeof(sent));
    comm.Broadcast(&bytes, 0);
    int64_t at;
    std::memcpy(&at, bytes.data(), sizeof(at));
    late_us.push_back(static_cast<double>(NowNs() - at) / 1e3);
  }
  const double share =
      static_cast<double>(ProcessCpuNs() - cpu_before) / static_cast<double>(NowNs() - start);
  std::sort(late_us.begin(), late_us.end());
  const auto line =
      fmt::format("rank {}: {:.2f} % of a CPU, woken after {:.0f} us (median), {:.0f} us (longest)\n",
                  comm.rank(), 100 * share, late_us[kRounds / 2], late_us.back());
  for (const auto& text : comm.AllGatherBytes({line.begin(), line.end()}))
    if (comm.rank() == 0) fmt::print("{}", std::string(text.begin(), text.end()));
  // A leader among hosts looks at MPI every few milliseconds: 0.4 to 1.1 %.
  Require(share < (comm.ranks_on_host() < comm.size() ? 0.03 : 0.01), line);
}

void SayPid(Communicator& comm) {
  fmt::print(stderr, "rank {} pid {}\n", comm.rank(), getpid());
}

void Loop(Communicator& comm, bool rank_1_throws) {
  std::vector<float> x(2048, 1.0f);
  for (uint64_t step = 0;; ++step) {
    comm.SetStage(fmt::format("step {}", step).c_str());
    comm.AllReduceSum(x);
    if (step == 50) SayPid(comm);
    if (rank_1_throws && step == 100 && comm.rank() == 1)
      Fail(ErrorCode::kInternal, "the test wants rank 1 to fail");
    std::fill(x.begin(), x.end(), 1.0f);
  }
}

void WaitForAMessage(Communicator& comm) {
  SayPid(comm);
  const int silent = comm.size() - 1;
  std::vector<uint8_t> bytes(100);
  if (comm.rank() == silent) pause();
  if (comm.rank() == 0) comm.Receive(bytes, silent);
  comm.Barrier();
}

void SplitForEver(Communicator& comm) {
  for (int round = 0;; ++round) {
    const auto part = comm.Split(comm.rank() % 2);
    std::vector<float> x(10, 1.0f);
    part->AllReduceSum(x);
    if (round == 3) SayPid(comm);
  }
}

int Run(const std::vector<std::string>& args) {
  CommOptions options;
  double number = 0;  // of the mode
  for (size_t i = 1; i < args.size(); ++i) {
    const auto value = [&] { return args.at(++i); };
    if (args[i] == "--mpi") {
      options.collectives = CommOptions::Collectives::kMpi;
    } else if (args[i] == "--deadline") {
      options.deadline_seconds = std::stod(value());
    } else if (args[i] == "--pretend-host") {
      options.ranks_per_pretended_host = std::stoi(value());
    } else if (args[i] == "--window") {
      options.window_bytes = std::stoul(value());
    } else if (i == 1 && args[i][0] != '-') {
      number = std::stod(args[i]);
    } else {
      Fail(ErrorCode::kUsage, "unknown option {}", args[i]);
    }
  }
  Require(LaunchedByMpi(), "started without mpirun");
  const auto comm = MakeMpiCommunicator(options);
  const std::string mode = args.at(0);
  if (mode == "collectives") {
    const int pretended = options.ranks_per_pretended_host;
    const bool any = options.collectives == CommOptions::Collectives::kMpi;
    const uint64_t digest =
        CheckSums(*comm, pretended > 0 ? pretended : comm->size(), any ? Order::kAny : Order::kDocumented);
    CheckDoubleSums(*comm);
    CheckGathers(*comm);
    CheckParts(*comm);
    CheckBroadcasts(*comm);
    CheckSharedBuffer(*comm);
    comm->Barrier();
    comm->Agree("check", nullptr);
    if (comm->rank() == 0) fmt::print("digest {:016x}\n", digest);
  } else if (mode == "calls") {
    CheckManyCalls(*comm, static_cast<uint64_t>(number));
  } else if (mode == "receive") {
    WaitForAMessage(*comm);
  } else if (mode == "split") {
    SplitForEver(*comm);
  } else if (mode == "idle") {
    CheckIdle(*comm, number);
  } else if (mode == "loop" || mode == "abandon") {
    Loop(*comm, mode == "abandon");
  } else if (mode == "agree") {
    const Error error(ErrorCode::kBadInput, "the test wants this rank to fail");
    comm->Agree("set-up", comm->rank() == std::min(1, comm->size() - 1) ? &error : nullptr);
  } else {
    Fail(ErrorCode::kUsage, "unknown mode {}", mode);
  }
  return 0;
}

}  // namespace
}  // namespace onecopy::comm

int main(int argc, char** argv) {
  try {
    return onecopy::comm::Run(std::vector<std::string>(argv + 1, argv + argc));
  } catch (const onecopy::Error& e) {
    fmt::print(stderr, "error: {}\n", e.what());
    onecopy::comm::AbortMpi(static_cast<int>(e.code()));
  } catch (const std::exception& e) {
    fmt::print(stderr, "error: {}\n", e.what());
    onecopy::comm::AbortMpi(1);
  }
}
