// Phases: the one way in which ranks of a host wait for each other. Every rank counts through the same phases; what a
// rank wrote before it entered a phase, the others may read once they have seen it there.
//
// Messages: a phase may publish one, written to the next buffer of the rank's ring. Each has a lag: a rank that publishes
// message m + lag + 1 has read all it wants of m. So m's buffer is free once all ranks have published that one, and no
// barrier follows a message: a rank that wants nothing of one goes on at once, and is not waited for until the ring is
// full.
//
// A ShmSync belongs to one thread at a time. Errors: CommError from every wait, when a peer has died, has left, has
// failed or does not come in time. What is thrown first, on whichever rank, is what the other ranks throw. Source:
// buffers in turn without a trailing barrier as in DeepSpeed's csrc/cpu/comm/shm.cpp; the lag, liveness, deadline and
// sleeping waits are additions. tests/model_check proves the protocol on a model of it.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/comm/shm_region.h"
#include "runtime/comm/wait.h"

namespace onecopy::comm {

// How many messages a rank may have published and not read to their end.
constexpr uint32_t kMaxLag = kBuffers - 2;

struct ShmOptions {
  size_t window_bytes = 256 << 10;
  double deadline_seconds = 60;  // of a wait in any operation but Barrier
  double barrier_deadline_seconds = 60;
  int threads_per_rank = 1;
  // Of this host that use its CPUs, where they are more than the group's; decides whether waits may spin.
  int ranks_on_host = 0;
  // Called now and then in every wait: throws where something outside this group makes waiting senseless.
  std::function<void()> outer_trouble = nullptr;
};

class ShmSync {
 public:
  // regions: by rank on host, each initialised by its owner, all visible by now. Not owned; must outlive
  // this.
  ShmSync(int rank, std::vector<uint8_t*> regions, const ShmOptions& options);
  // Tells the others that this rank left, or, where an exception is what destroys it, that it failed.
  ~ShmSync();
  ShmSync(const ShmSync&) = delete;
  ShmSync& operator=(const ShmSync&) = delete;

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(regions_.size()); }

  // This rank's buffer of the next message, free for writing: waits until nobody reads its last content.
  uint8_t* OpenBuffer();
  // Enters the next phase with the next message: what was written to the opened buffer, or nothing of use. lag: how many
  // further messages a rank may publish before it has read this one; the same on all ranks, at most kMaxLag.
  void Publish(uint32_t lag = 0);
  // Takes bytes [from, from + n) of the next buffer from the caches of those who read it last, so that the next message
  // is written without waiting for that. Beyond kMostClaimedBytes the lines would push others out of L1.
  static constexpr size_t kMostClaimedBytes = 32 << 10;
  void ClaimNextBuffer(size_t from, size_t n) const;
  // The same for the first n bytes, in the time in which others are awaited: stops when all have come.
  void ClaimNextBufferMeanwhile(size_t n) const;
  // Enters the next phase without a message.
  void Arrive();
  // Until every rank has entered the current phase.
  void AwaitAll() { AwaitAll(phase_, deadline_seconds_); }
  void AwaitAll(double deadline_seconds) { AwaitAll(phase_, deadline_seconds); }
  // Until `peer` has entered the current phase. For idle times: no deadline, but peers that die are noticed.
  void AwaitRank(int peer);
  // The last message published here; numbers wrap around.
  uint32_t message() const { return message_; }
  // `peer`'s buffer of a message, this one or one of the kMaxLag before.
  uint8_t* Buffer(int peer, uint32_t message) const {
    return regions_[peer] + kHeaderBytes + (message & (kBuffers - 1)) * buffer_bytes_;
  }
  const uint8_t* Buffer(int peer) const { return Buffer(peer, message_); }

  int socket(int peer) const { return header(peer).socket; }

  // Throws when some rank has failed.
  void CheckFailed() const;
  // Throws when some rank has failed, or one that this rank watches has died: the next one, and `awaited`, who must not
  // have left either. For waits elsewhere (MPI).
  void CheckTrouble() { CheckTrouble((rank_ + 1) % size()); }
  void CheckTrouble(int awaited);
  // Makes every wait of every rank of this host fail with this reason.
  void Abandon(const std::string& reason) noexcept;
  void SetStage(const char* stage);
  // Marks the start of an operation, for the messages of others.
  void BeginCall();

  double wait_seconds() const { return static_cast<double>(wait_ns_) * 1e-9; }
  uint64_t calls() const { return calls_; }

 private:
  bool HasArrived(int peer, uint32_t phase) const;
  bool AllArrived(uint32_t phase) const;
  void AwaitAll(uint32_t phase, double deadline_seconds);
  void WakeEveryone() noexcept;
  void MarkFailed(int culprit, const std::string& message) noexcept;
  [[noreturn]] void GiveUp(int culprit, const std::string& message);
  void CheckPeer(int peer, bool may_leave);
  void CheckIdlePeers(int awaited);
  void CheckStopped(int peer, int64_t now_ns);
  int64_t OwnPause(int64_t between_looks_ns);
  [[noreturn]] void DeadlinePassed(uint32_t phase, double deadline_seconds);

  // How long a peer has been seen stopped, each time it was looked at and without having arrived anywhere in between.
  struct Stop {
    int64_t since_ns = 0;  // 0: it runs
    uint32_t arrived = 0;
  };
  RankHeader& header(int peer) const { return *headers_[peer]; }

  const int rank_;
  const std::vector<uint8_t*> regions_;
  std::vector<RankHeader*> headers_;
  std::vector<bool> watchable_;  // the peer's pid means something to this process, and is not this process
  std::vector<Stop> stops_;      // by peer
  const size_t buffer_bytes_;
  const double deadline_seconds_;
  const std::function<void()> outer_trouble_;
  WaitPolicy policy_;
  const int exceptions_at_start_;

  uint32_t message_ = 0;
  uint32_t unread_ = 1;  // the oldest message that some rank may read when all are in this phase
  // By buffer: the lag of its message, and the phase in which nobody reads that any more.
  std::array<uint32_t, kBuffers> lag_{};
  std::array<uint32_t, kBuffers> free_in_{};
  uint32_t phase_ = 0;           // wraps around; phases are compared by their signed difference
  uint32_t all_arrived_in_ = 0;  // every rank is known to have entered this phase
  int64_t wait_ns_ = 0;
  uint64_t calls_ = 0;
};

}  // namespace onecopy::comm
