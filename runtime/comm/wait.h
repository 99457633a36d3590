// How a rank waits for a word in shared memory: spin while that is cheap, then yield, then sleep in the
// kernel. Thread-safe. Works between processes (the futex calls are the shared kind) and between threads.
//
// Lost wake-ups: the waker stores its word and then reads `sleepers`; the sleeper raises `sleepers` and then
// reads the word again. Both pairs are sequentially consistent, so at least one sees the other (Dekker's
// argument).
#pragma once

#include <sched.h>

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace onecopy::comm {

// Two lines of 64 bytes: the adjacent-line prefetcher of x86 pulls lines in pairs.
constexpr size_t kLineBytes = 128;

using SharedWord = std::atomic<uint32_t>;
static_assert(SharedWord::is_always_lock_free && sizeof(SharedWord) == 4, "the kernel waits on 32-bit words");

// A word that others wait for. The waker reads `sleepers` on the line that it has just written.
struct alignas(kLineBytes) SleepWord {
  SharedWord value{0};
  SharedWord sleepers{0};
};

struct WaitPolicy {
  int64_t spin_ns;   // 0 where ranks share cores: the rank waited for may need this core
  int yields;        // then give up the core this many times
  int64_t sleep_ns;  // then sleep, at most this long at once, looking for trouble in between
};

// `cpus` is what all `ranks` of this host may run on together.
WaitPolicy ChooseWaitPolicy(int ranks, int threads_per_rank, int cpus);

// CLOCK_MONOTONIC, which all processes of a host share.
int64_t NowNs();

// Returns when *word differs from `seen`, on a wake-up, after `timeout_ns`, or spuriously.
void FutexWait(const SharedWord& word, uint32_t seen, int64_t timeout_ns);
void FutexWakeAll(const SharedWord& word);

inline void CpuRelax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// Of a line that nobody else needs any more.
inline void PrefetchToWrite(const void* at) {
#if defined(__x86_64__)
  asm volatile("prefetchw %0" ::"m"(*static_cast<const char*>(at)));  // does nothing on CPUs before 2014
#else
  __builtin_prefetch(at, /*write=*/1);
#endif
}

// Counts its owner among the sleepers of a word for as long as it lives.
class Sleeper {
 public:
  explicit Sleeper(SleepWord* word) : word_(word) { word_->sleepers.fetch_add(1, std::memory_order_seq_cst); }
  ~Sleeper() { word_->sleepers.fetch_sub(1, std::memory_order_seq_cst); }
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;

 private:
  SleepWord* word_;
};

// Returns once ready() holds. `word` must change, or be woken, when ready() becomes true. trouble() is called
// now and then while waiting; it throws to give up. ready() reads shared words with memory_order_seq_cst.
template <typename Ready, typename Trouble>
void WaitUntil(const WaitPolicy& policy, SleepWord* word, Ready ready, Trouble trouble) {
  if (policy.spin_ns > 0) {
    // Alone for a moment; then others may run here too, for the CPUs may be fewer than they look: another job's, or a
    // second host's that a test pretends on this one.
    constexpr int64_t kAloneNs = 50'000;
    const int64_t start = NowNs(), spin_end = start + policy.spin_ns;
    for (int64_t now = start; now < spin_end; now = NowNs()) {
      if (now - start > kAloneNs) sched_yield();
      // Pauses take 10 to 140 cycles each: 32 are under 2 us, and hide the clock's 25 ns.
      for (int i = 0; i < 32; ++i) {
        if (ready()) return;
        CpuRelax();
      }
    }
  }
  for (int i = 0; i < policy.yields; ++i) {
    if (ready()) return;
    sched_yield();
  }
  for (;;) {
    const Sleeper sleeper(word);
    const uint32_t seen = word->value.load(std::memory_order_seq_cst);
    if (ready()) return;
    // Trouble that bumps the word from here on ends the sleep.
    trouble();
    FutexWait(word->value, seen, policy.sleep_ns);
  }
}

}  // namespace onecopy::comm
