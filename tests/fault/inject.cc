// Faults at the seams of a process: preloaded (LD_PRELOAD), it makes calls into the C library fail, fall short, wait or meet a
// file that somebody changes, as ONECOPY_INJECT says. For inject_test.py; thread-safe.
//
// ONECOPY_INJECT: rules with ';' between, each of words with ',' between:
//   call=NAME     of a call below; new: C++'s operator new
//   path=TEXT     only on files whose path has this; program=TEXT: only in programs whose path has this
//   rank=N        only on this rank of an MPI job
//   after=TEXT    only once a file whose path has this was opened; main: only once main() runs
//   nth=N         the first one that is met (1); count=N how many from there (1; 0: all)
//   least=BYTES   only where so many bytes are asked for
// and what happens, several at will, in this order:
//   delay=MS · truncate=BYTES (the file at `path`) · touch=OFFSET (a byte of it is inverted) · replace=FILE (renamed to it) ·
//   signal=NUMBER (to this process) · fail=ERRNO (a number) · short (half of what is asked for, at least 1 byte)
// ONECOPY_INJECT_LOG=FILE: a line for each time that a rule strikes: rank, call, path.
// ONECOPY_INJECT_CLOCK=SECONDS,MS: the clock of the day jumps by so much when the process is MS old, and back when it is a
// hundred times as old. Logged as the call "clock" once it was seen.
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

namespace {

constexpr int kMostRules = 8, kMostText = 256;

struct Rule {
  char call[32] = "", path[kMostText] = "", replace[kMostText] = "", after[kMostText] = "";
  long nth = 1, count = 1, fail = 0, delay = 0, truncate = -1, touch = -1, signal = 0;
  size_t least = 0;
  bool halve = false, in_main = false;
  std::atomic<long> met{0};
  std::atomic<bool> open{true};
};

Rule rules[kMostRules];
int num_rules = 0;
std::atomic<bool> ready{false}, main_runs{false};
long jump_seconds = 0, jump_ms = 0, start_ms = 0;
// The library's own calls are left alone.
thread_local bool inside = false;

template <typename Function>
Function* Next(const char* name) {
  return reinterpret_cast<Function*>(dlsym(RTLD_NEXT, name));
}
#define NEXT(name) static auto* const next = Next<decltype(name)>(#name)

long Milliseconds() {
  timespec now;
  static auto* const next = Next<decltype(clock_gettime)>("clock_gettime");
  next(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void Copy(const char* from, char* to) {
  strncpy(to, from, kMostText - 1);
}

void Parse(char* text) {
  const char* rank = getenv("OMPI_COMM_WORLD_RANK");
  char program[4096] = "";
  if (readlink("/proc/self/exe", program, sizeof program - 1) < 0) program[0] = 0;
  char *end_of_rule = nullptr, *end_of_word = nullptr;
  for (char* one = strtok_r(text, ";", &end_of_rule); one != nullptr;
       one = strtok_r(nullptr, ";", &end_of_rule)) {
    if (num_rules == kMostRules) abort();
    Rule& rule = rules[num_rules];
    bool mine = true;
    for (char* word = strtok_r(one, ",", &end_of_word); word; word = strtok_r(nullptr, ",", &end_of_word)) {
      char* const equals = strchr(word, '=');
      if (equals != nullptr) *equals = 0;
      const char* value = equals != nullptr ? equals + 1 : "";
      const auto is = [&](const char* name) { return strcmp(word, name) == 0; };
      const long number = atol(value);
      if (is("call"))
        strncpy(rule.call, value, sizeof rule.call - 1);
      else if (is("path"))
        Copy(value, rule.path);
      else if (is("after"))
        Copy(value, rule.after), rule.open = false;
      else if (is("replace"))
        Copy(value, rule.replace);
      else if (is("program"))
        mine &= strstr(program, value) != nullptr;
      else if (is("rank"))
        mine &= rank != nullptr && atol(rank) == number;
      else if (is("nth"))
        rule.nth = number;
      else if (is("count"))
        rule.count = number;
      else if (is("least"))
        rule.least = static_cast<size_t>(number);
      else if (is("fail"))
        rule.fail = number;
      else if (is("delay"))
        rule.delay = number;
      else if (is("truncate"))
        rule.truncate = number;
      else if (is("touch"))
        rule.touch = number;
      else if (is("signal"))
        rule.signal = number;
      else if (is("short"))
        rule.halve = true;
      else if (is("main"))
        rule.in_main = true;
      else
        abort();  // a misspelt rule must not pass for a fault that does no harm
    }
    if (mine)
      ++num_rules;
    else
      memset(static_cast<void*>(&rule), 0, sizeof rule), new (&rule) Rule;
  }
}

__attribute__((constructor)) void Start() {
  inside = true;
  start_ms = Milliseconds();
  static char text[4096];
  if (const char* given = getenv("ONECOPY_INJECT")) {
    strncpy(text, given, sizeof text - 1);
    Parse(text);
  }
  if (const char* clock = getenv("ONECOPY_INJECT_CLOCK")) sscanf(clock, "%ld,%ld", &jump_seconds, &jump_ms);
  ready = num_rules > 0;
  inside = false;
}

void Log(const char* call, const char* path) {
  const char* file = getenv("ONECOPY_INJECT_LOG");
  if (file == nullptr) return;
  char line[512];
  const char* rank = getenv("OMPI_COMM_WORLD_RANK");
  const int n = snprintf(line, sizeof line, "%s %s %s\n", rank ? rank : "-", call, path);
  const int fd = open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0) return;
  (void)!write(fd, line, std::min<size_t>(n, sizeof line - 1));
  close(fd);
}

void ChangeFile(const Rule& rule, const char* path) {
  if (rule.truncate >= 0) (void)!truncate(path, rule.truncate);
  if (rule.replace[0] != 0) (void)!rename(rule.replace, path);
  if (rule.touch < 0) return;
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  unsigned char byte;
  if (fd < 0 || pread(fd, &byte, 1, rule.touch) != 1) abort();
  byte ^= 0xff;
  if (pwrite(fd, &byte, 1, rule.touch) != 1) abort();
  close(fd);
}

// What becomes of a call: it fails with `error`, or does with fewer bytes.
struct Fate {
  int error = 0;
  bool halve = false;
  size_t Bytes(size_t bytes) const { return halve && bytes > 1 ? bytes / 2 : bytes; }
};

// path: of the file; or nullptr and fd, of which it is found out; or nullptr and -1.
Fate Meet(const char* call, const char* path, int fd, size_t bytes) {
  Fate fate;
  if (!ready.load(std::memory_order_acquire) || inside) return fate;
  inside = true;
  const int saved = errno;
  char found[4096] = "";
  for (int i = 0; i < num_rules; ++i) {
    Rule& rule = rules[i];
    const bool opens = strcmp(call, "open") == 0 && path != nullptr;
    if (rule.after[0] != 0 && opens && strstr(path, rule.after) != nullptr) rule.open = true;
    if (strcmp(rule.call, call) != 0 || !rule.open || bytes < rule.least) continue;
    if (rule.in_main && !main_runs) continue;
    if (path == nullptr && fd >= 0 && found[0] == 0) {
      char link[64];
      snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
      const ssize_t n = readlink(link, found, sizeof found - 1);
      found[n < 0 ? 0 : n] = 0;
    }
    const char* name = path != nullptr ? path : found;
    if (rule.path[0] != 0 && strstr(name, rule.path) == nullptr) continue;
    const long met = ++rule.met;
    if (met < rule.nth || (rule.count > 0 && met >= rule.nth + rule.count)) continue;
    Log(call, name);
    if (rule.delay > 0) usleep(static_cast<useconds_t>(rule.delay) * 1000);
    ChangeFile(rule, name);
    if (rule.signal > 0) kill(getpid(), static_cast<int>(rule.signal));
    if (rule.fail > 0) fate.error = static_cast<int>(rule.fail);
    fate.halve |= rule.halve;
  }
  errno = saved;
  inside = false;
  return fate;
}

// Adds the jump where it is to be seen.
void Jump(time_t* seconds) {
  static std::atomic<bool> seen{false};
  if (jump_seconds == 0 || inside) return;
  const long age = Milliseconds() - start_ms;
  if (age < jump_ms || age >= 100 * jump_ms) return;
  *seconds += jump_seconds;
  if (seen.exchange(true)) return;
  inside = true;
  Log("clock", "");
  inside = false;
}

// Of this program, in whose place another one is given to the C library.
int (*main_of_program)(int, char**, char**) = nullptr;
int MarkAndRunMain(int argc, char** argv, char** environment) {
  main_runs = true;
  return main_of_program(argc, argv, environment);
}

}  // namespace

#define FAIL_OR(fate, result)                       \
  if (const int error = (fate).error; error != 0) { \
    errno = error;                                  \
    return result;                                  \
  }

extern "C" {

// NOLINTNEXTLINE(bugprone-reserved-identifier): what is put in front of the C library's
int __libc_start_main(int (*program)(int, char**, char**), int argc, char** argv, void (*init)(),
                      void (*fini)(), void (*rtld_fini)(), void* stack_end) {
  NEXT(__libc_start_main);
  main_of_program = program;
  return next(MarkAndRunMain, argc, argv, init, fini, rtld_fini, stack_end);
}

#define OPEN(name)                                 \
  int name(const char* path, int flags, ...) {     \
    NEXT(name);                                    \
    va_list arguments;                             \
    va_start(arguments, flags);                    \
    const mode_t mode = va_arg(arguments, mode_t); \
    va_end(arguments);                             \
    FAIL_OR(Meet("open", path, -1, 0), -1)         \
    return next(path, flags, mode);                \
  }
OPEN(open)
OPEN(open64)

#define FOPEN(name)                                \
  FILE* name(const char* path, const char* mode) { \
    NEXT(name);                                    \
    FAIL_OR(Meet("fopen", path, -1, 0), nullptr)   \
    return next(path, mode);                       \
  }
FOPEN(fopen)
FOPEN(fopen64)

#define PREAD(name)                                            \
  ssize_t name(int fd, void* to, size_t bytes, off_t offset) { \
    NEXT(name);                                                \
    const Fate fate = Meet("pread", nullptr, fd, bytes);       \
    FAIL_OR(fate, -1)                                          \
    return next(fd, to, fate.Bytes(bytes), offset);            \
  }
PREAD(pread)
PREAD(pread64)

ssize_t read(int fd, void* to, size_t bytes) {
  NEXT(read);
  const Fate fate = Meet("read", nullptr, fd, bytes);
  FAIL_OR(fate, -1)
  return next(fd, to, fate.Bytes(bytes));
}

ssize_t write(int fd, const void* from, size_t bytes) {
  NEXT(write);
  const Fate fate = Meet("write", nullptr, fd, bytes);
  FAIL_OR(fate, -1)
  return next(fd, from, fate.Bytes(bytes));
}

int fsync(int fd) {
  NEXT(fsync);
  FAIL_OR(Meet("fsync", nullptr, fd, 0), -1)
  return next(fd);
}

int rename(const char* from, const char* to) {
  NEXT(rename);
  FAIL_OR(Meet("rename", from, -1, 0), -1)
  return next(from, to);
}

// NOLINTBEGIN(bugprone-macro-parentheses): of a name that is declared
#define MMAP(name)                                                                      \
  void* name(void* at, size_t bytes, int protection, int flags, int fd, off_t offset) { \
    NEXT(name);                                                                         \
    FAIL_OR(Meet("mmap", nullptr, fd, bytes), MAP_FAILED)                               \
    return next(at, bytes, protection, flags, fd, offset);                              \
  }
MMAP(mmap)
MMAP(mmap64)
// NOLINTEND(bugprone-macro-parentheses)

int mprotect(void* at, size_t bytes, int protection) {
  NEXT(mprotect);
  FAIL_OR(Meet("mprotect", nullptr, -1, bytes), -1)
  return next(at, bytes, protection);
}

int mlock2(const void* at, size_t bytes, unsigned flags) {
  NEXT(mlock2);
  FAIL_OR(Meet("mlock2", nullptr, -1, bytes), -1)
  return next(at, bytes, flags);
}

long mbind(void* at, unsigned long bytes, int mode, const unsigned long* mask, unsigned long most,
           unsigned flags) {
  static auto* const next =
      Next<long(void*, unsigned long, int, const unsigned long*, unsigned long, unsigned)>("mbind");
  FAIL_OR(Meet("mbind", nullptr, -1, bytes), -1)
  return next(at, bytes, mode, mask, most, flags);
}

long set_mempolicy(int mode, const unsigned long* mask, unsigned long most) {
  static auto* const next = Next<long(int, const unsigned long*, unsigned long)>("set_mempolicy");
  FAIL_OR(Meet("set_mempolicy", nullptr, -1, 0), -1)
  return next(mode, mask, most);
}

long move_pages(int pid, unsigned long count, void** pages, const int* nodes, int* status, int flags) {
  static auto* const next = Next<long(int, unsigned long, void**, const int*, int*, int)>("move_pages");
  FAIL_OR(Meet("move_pages", nullptr, -1, count), -1)
  return next(pid, count, pages, nodes, status, flags);
}

int pthread_create(pthread_t* thread, const pthread_attr_t* attributes, void* (*start)(void*),
                   void* argument) {
  NEXT(pthread_create);
  const Fate fate = Meet("pthread_create", nullptr, -1, 0);
  return fate.error != 0 ? fate.error : next(thread, attributes, start, argument);
}

int clock_gettime(clockid_t clock, timespec* to) {
  NEXT(clock_gettime);
  const int result = next(clock, to);
  if (result == 0 && clock == CLOCK_REALTIME) Jump(&to->tv_sec);
  return result;
}

int gettimeofday(timeval* to, void* zone) {
  static auto* const next = Next<int(timeval*, void*)>("gettimeofday");
  const int result = next(to, zone);
  if (result == 0) Jump(&to->tv_sec);
  return result;
}

time_t time(time_t* to) {
  NEXT(time);
  time_t now = next(nullptr);
  Jump(&now);
  if (to != nullptr) *to = now;
  return now;
}

}  // extern "C"

// NOLINTNEXTLINE(misc-new-delete-overloads): what it takes from malloc, the library's delete gives to free
void* operator new(size_t bytes) {
  if (Meet("new", nullptr, -1, bytes).error != 0) throw std::bad_alloc();
  if (void* memory = malloc(bytes > 0 ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
