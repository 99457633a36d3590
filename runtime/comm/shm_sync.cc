// The protocol of phases, and what a waiting rank does when nobody comes.
#include "runtime/comm/shm_sync.h"

#include <fmt/format.h>

#include <algorithm>
#include <exception>

#include "runtime/base/check.h"
#include "runtime/comm/communicator.h"

namespace onecopy::comm {
namespace {

// Looking at /proc costs some 10 us a peer.
constexpr int64_t kLivenessNs = 100'000'000;
constexpr int64_t kIdleLivenessNs = 400'000'000;
// Waits look around every few milliseconds. What is longer than this between two looks, this process has been stopped,
// as all of a job that is suspended: it counts towards no deadline.
constexpr int64_t kOwnPauseNs = 1'000'000'000;

bool Reached(uint32_t at, uint32_t phase) {
  return static_cast<int32_t>(at - phase) >= 0;
}

std::string Name(const RankHeader& header) {
  return fmt::format("rank {} (pid {} on {})", header.world_rank, header.process.pid, header.host);
}

}  // namespace

ShmSync::ShmSync(int rank, std::vector<uint8_t*> regions, const ShmOptions& options)
    : rank_(rank),
      regions_(std::move(regions)),
      buffer_bytes_(BufferBytes(options.window_bytes)),
      deadline_seconds_(options.deadline_seconds),
      outer_trouble_(options.outer_trouble),
      policy_(ChooseWaitPolicy(std::max(options.ranks_on_host, static_cast<int>(regions_.size())),
                               options.threads_per_rank, CountCpus(regions_))),
      exceptions_at_start_(std::uncaught_exceptions()) {
  const ProcessIdentity self = ThisProcess();
  for (uint8_t* region : regions_) {
    headers_.push_back(Header(region));
    // Ranks in another PID namespace (containers that share memory) have pids that mean nothing here, and
    // ranks that are threads of this process cannot outlive it: both are left to the deadline.
    const ProcessIdentity& peer = headers_.back()->process;
    watchable_.push_back(peer.pid != self.pid && IsAlive(peer));
  }
  stops_.resize(regions_.size());
}

ShmSync::~ShmSync() {
  if (std::uncaught_exceptions() > exceptions_at_start_) Abandon("it left because of an error of its own");
  RankState present = RankState::kPresent;
  header(rank_).state.compare_exchange_strong(present, RankState::kLeft);
}

uint8_t* ShmSync::OpenBuffer() {
  AwaitAll(free_in_[(message_ + 1) & (kBuffers - 1)], deadline_seconds_);
  return Buffer(rank_, message_ + 1);
}

void ShmSync::Publish(uint32_t lag) {
  ++message_;
  lag_[message_ & (kBuffers - 1)] = lag;
  Arrive();
  while (message_ - unread_ > lag_[unread_ & (kBuffers - 1)]) free_in_[unread_++ & (kBuffers - 1)] = phase_;
}

void ShmSync::ClaimNextBuffer(size_t from, size_t n) const {
  constexpr size_t kCacheLine = 64;
  const uint8_t* next = Buffer(rank_, message_ + 1);
  for (size_t at = from; at < from + n; at += kCacheLine) PrefetchToWrite(next + at);
}

void ShmSync::ClaimNextBufferMeanwhile(size_t n) const {
  constexpr size_t kBetweenLooks = 512;
  n = std::min(n, kMostClaimedBytes);
  for (size_t at = 0; at < n && !AllArrived(phase_); at += kBetweenLooks)
    ClaimNextBuffer(at, std::min(kBetweenLooks, n - at));
}

void ShmSync::Arrive() {
  ++phase_;
  SleepWord& mine = header(rank_).arrived;
  mine.value.store(phase_, std::memory_order_seq_cst);
  if (mine.sleepers.load(std::memory_order_seq_cst) > 0) FutexWakeAll(mine.value);
  // Those who wait for all sleep on one word, which the last to arrive bumps: a rank is woken once a phase,
  // not once for every late peer. The stores of `value` have one order, so whoever is last in it sees all of
  // them.
  SleepWord& gate = header(0).gate;
  if (gate.sleepers.load(std::memory_order_seq_cst) > 0 && AllArrived(phase_)) {
    gate.value.fetch_add(1, std::memory_order_seq_cst);
    FutexWakeAll(gate.value);
  }
}

bool ShmSync::HasArrived(int peer, uint32_t phase) const {
  return Reached(header(peer).arrived.value.load(std::memory_order_seq_cst), phase);
}

bool ShmSync::AllArrived(uint32_t phase) const {
  for (int peer = 0; peer < size(); ++peer) {
    if (!HasArrived(peer, phase)) return false;
  }
  return true;
}

void ShmSync::AwaitAll(uint32_t phase, double deadline_seconds) {
  if (Reached(all_arrived_in_, phase)) return;
  int missing = 0;  // the first peer not yet seen; those before it stay arrived
  const auto ready = [&] {
    while (missing < size() && HasArrived(missing, phase)) ++missing;
    return missing == size();
  };
  if (!ready()) {
    int64_t start_ns = NowNs(), last_ns = start_ns;
    int64_t next_check_ns = start_ns + kLivenessNs;
    WaitUntil(policy_, &header(0).gate, ready, [&] {
      CheckFailed();
      const int64_t now_ns = NowNs();
      start_ns += OwnPause(now_ns - last_ns);
      last_ns = now_ns;
      if (now_ns >= next_check_ns) {
        for (int peer = missing; peer < size(); ++peer) {
          if (HasArrived(peer, phase)) continue;
          CheckPeer(peer, /*may_leave=*/false);
          CheckStopped(peer, now_ns);
        }
        next_check_ns = now_ns + kLivenessNs;
      }
      if (static_cast<double>(now_ns - start_ns) * 1e-9 > deadline_seconds)
        DeadlinePassed(phase, deadline_seconds);
    });
    wait_ns_ += NowNs() - start_ns;
  }
  all_arrived_in_ = phase;
}

void ShmSync::AwaitRank(int peer) {
  const auto ready = [&] { return HasArrived(peer, phase_); };
  if (ready()) return;
  const int64_t start_ns = NowNs();
  int64_t next_check_ns = start_ns + kIdleLivenessNs, last_ns = start_ns;
  WaitUntil(policy_, &header(peer).arrived, ready, [&] {
    CheckFailed();
    const int64_t now_ns = NowNs();
    OwnPause(now_ns - last_ns);
    last_ns = now_ns;
    if (now_ns < next_check_ns) return;
    CheckIdlePeers(peer);
    next_check_ns = now_ns + kIdleLivenessNs;
  });
  wait_ns_ += NowNs() - start_ns;
}

void ShmSync::CheckTrouble(int awaited) {
  CheckFailed();
  CheckIdlePeers(awaited);
}

// Each rank watches the next one too, so that what happens to a rank in an idle time is noticed at a cost that does not
// grow with the square of the ranks. The awaited one is no link of that ring: it is not in here, and watches nobody.
void ShmSync::CheckIdlePeers(int awaited) {
  int next = (rank_ + 1) % size();
  if (next == awaited) next = (next + 1) % size();
  CheckPeer(awaited, /*may_leave=*/false);
  CheckPeer(next, /*may_leave=*/true);
  const int64_t now_ns = NowNs();
  CheckStopped(awaited, now_ns);
  CheckStopped(next, now_ns);
}

void ShmSync::CheckPeer(int peer, bool may_leave) {
  const RankHeader& it = header(peer);
  const RankState state = it.state.load(std::memory_order_acquire);
  if (state == RankState::kLeft) {
    if (may_leave) return;
    GiveUp(it.world_rank,
           fmt::format("{} left the job after stage '{}' while rank {} waits for it; the job ends here",
                       Name(it), it.stage.Load(), header(rank_).world_rank));
  }
  if (state == RankState::kPresent && watchable_[peer] && !IsAlive(it.process)) {
    GiveUp(it.world_rank, fmt::format("{} died in stage '{}'; the job ends here", Name(it), it.stage.Load()));
  }
}

// How much of the time between two looks of a wait this process has been stopped.
int64_t ShmSync::OwnPause(int64_t between_looks_ns) {
  if (between_looks_ns < kOwnPauseNs) return 0;
  stops_.assign(regions_.size(), {});
  return between_looks_ns;
}

// Waits of set-up have a long deadline and idle ones none, as ranks may be slow or have nothing to do; one that is stopped
// is neither.
void ShmSync::CheckStopped(int peer, int64_t now_ns) {
  const RankHeader& it = header(peer);
  Stop& stop = stops_[peer];
  if (!watchable_[peer] || !IsStopped(it.process)) {
    stop = {};
    return;
  }
  // No look may have fallen between two stops; what arrived somewhere has run.
  const uint32_t arrived = it.arrived.value.load(std::memory_order_relaxed);
  if (stop.since_ns == 0 || stop.arrived != arrived) stop = {now_ns, arrived};
  if (static_cast<double>(now_ns - stop.since_ns) * 1e-9 > deadline_seconds_)
    GiveUp(it.world_rank,
           fmt::format(
               "{} has been stopped (by SIGSTOP or a debugger) for {} s in stage '{}'; the job ends here",
               Name(it), deadline_seconds_, it.stage.Load()));
}

void ShmSync::DeadlinePassed(uint32_t phase, double deadline_seconds) {
  std::string late, others;
  int culprit = -1;
  for (int peer = 0; peer < size(); ++peer) {
    if (HasArrived(peer, phase)) continue;
    const RankHeader& it = header(peer);
    if (culprit >= 0) {
      others += fmt::format("{} {}", others.empty() ? "; also missing: rank" : ",", it.world_rank);
      continue;
    }
    culprit = it.world_rank;
    const int64_t last_ns = it.last_call_ns.load(std::memory_order_relaxed);
    const std::string seen = last_ns == 0 ? "it has not called yet"
                                          : fmt::format("last call {:.1f} s ago", (NowNs() - last_ns) * 1e-9);
    late = fmt::format("{} has not arrived within {} s, {}, last stage '{}'", Name(it), deadline_seconds,
                       seen, it.stage.Load());
  }
  GiveUp(culprit, fmt::format("{}{}; the job ends here", late, others));
}

void ShmSync::CheckFailed() const {
  if (outer_trouble_) outer_trouble_();
  const uint32_t failed = header(0).first_failed.load(std::memory_order_seq_cst);
  if (failed == 0) return;
  const RankHeader& it = header(static_cast<int>(failed) - 1);
  throw CommError(it.culprit.load(std::memory_order_relaxed), it.failure.Load());
}

void ShmSync::GiveUp(int culprit, const std::string& message) {
  MarkFailed(culprit, message);
  // Another rank may have been first; all ranks give its reason.
  CheckFailed();
  throw CommError(culprit, message);
}

void ShmSync::MarkFailed(int culprit, const std::string& message) noexcept {
  RankHeader& mine = header(rank_);
  if (mine.state.load(std::memory_order_relaxed) == RankState::kFailed) return;
  mine.culprit.store(culprit, std::memory_order_relaxed);
  mine.failure.Store(message);
  mine.state.store(RankState::kFailed, std::memory_order_release);
  uint32_t none = 0;
  header(0).first_failed.compare_exchange_strong(none, static_cast<uint32_t>(rank_) + 1,
                                                 std::memory_order_seq_cst);
  WakeEveryone();
}

void ShmSync::Abandon(const std::string& reason) noexcept {
  const RankHeader& mine = header(rank_);
  if (header(0).first_failed.load(std::memory_order_seq_cst) != 0) return;  // the first reason stands
  try {
    MarkFailed(mine.world_rank,
               fmt::format("{} failed in stage '{}': {}", Name(mine), mine.stage.Load(), reason));
  } catch (const std::exception&) {  // out of memory for the message
    MarkFailed(mine.world_rank, std::string());
  }
}

// Nobody's condition has become true, so the sleepers look for trouble. One that is just going to sleep
// misses this and looks when its sleep ends, at most policy_.sleep_ns later.
void ShmSync::WakeEveryone() noexcept {
  SleepWord& gate = header(0).gate;
  gate.value.fetch_add(1, std::memory_order_seq_cst);
  FutexWakeAll(gate.value);
  for (int peer = 0; peer < size(); ++peer) FutexWakeAll(header(peer).arrived.value);
}

void ShmSync::SetStage(const char* stage) {
  header(rank_).stage.Store(stage);
}

void ShmSync::BeginCall() {
  ++calls_;
  header(rank_).last_call_ns.store(NowNs(), std::memory_order_relaxed);
}

}  // namespace onecopy::comm
