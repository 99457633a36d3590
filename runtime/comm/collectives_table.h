// Which algorithm an all-reduce takes, by its size and by how many ranks lie on how many sockets; and what each costs.
// All give the same bits, so the choice is one of speed alone. Pure; thread-safe.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>
#include <vector>

namespace onecopy::comm {

enum class Algorithm {
  kOnePhase,   // every rank reads all terms and sums all
  kTwoPhases,  // every rank sums a slice; all read the slices
  kBySocket,  // a socket's ranks sum slices onto the sums of the sockets before; the result crosses once a socket
};
inline constexpr Algorithm kAlgorithms[] = {Algorithm::kOnePhase, Algorithm::kTwoPhases,
                                            Algorithm::kBySocket};
// "one-phase", "two-phases", "by-socket".
std::string_view NameOf(Algorithm algorithm);
std::optional<Algorithm> AlgorithmOf(std::string_view name);

// More sockets than this would need more message buffers (shm_flow.h).
inline constexpr int kMaxSockets = 4;

struct CollectivesTable {
  struct Row {
    int ranks = 0, sockets = 0;
    size_t up_to_bytes = 0;  // of the message
    Algorithm algorithm = Algorithm::kOnePhase;
  };
  std::vector<Row> rows;  // empty: the built-in choice

  // bytes: of the whole message. sockets: 1 where the ranks' sockets are not known or not in one piece each. Takes the
  // rows of as many sockets and of the nearest number of ranks, and of these the first that reaches `bytes`, or the
  // longest.
  Algorithm Choose(size_t bytes, int ranks, int sockets) const;
};

// What an all-reduce costs one rank: rounds of flags that it waits for, and bytes that it copies or sums. The pieces of a
// long message flow (shm_flow.h), so only the first one waits.
struct AllReduceCost {
  double phases = 0, bytes = 0;
};
AllReduceCost CostOf(Algorithm algorithm, double bytes, int ranks, int sockets);

}  // namespace onecopy::comm
