// Which processes are ranks is not known before MPI has started: those with the parent of this one, which the launcher
// has given a rank in their environment.
#include "runtime/comm/mpi_guard.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <string>

#include "runtime/base/error.h"
#include "runtime/base/log.h"
#include "runtime/comm/shm_region.h"

namespace onecopy::comm {
namespace {

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// "rank 2 (pid 77 on host)", of a process that is a rank; empty otherwise.
std::string NameOfRank(int pid) {
  const std::string environment = '\0' + ReadAll(fmt::format("/proc/{}/environ", pid));
  for (const char* variable : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    const std::string key = std::string(1, '\0') + variable + "=";
    const size_t at = environment.find(key);
    if (at != std::string::npos)
      return fmt::format("rank {} (pid {} on {})", environment.c_str() + at + key.size(), pid, HostName());
  }
  return "";
}

// The ranks that were started with this one and are stopped now, by name, with commas between.
std::string StoppedRanks() {
  DIR* directory = opendir("/proc");
  if (directory == nullptr) return "";
  std::string names;
  while (const dirent* entry = readdir(directory)) {
    const int pid = atoi(entry->d_name);
    if (pid <= 0 || pid == getpid()) continue;
    const std::string stat = ReadAll(fmt::format("/proc/{}/stat", pid));
    const size_t name_end = stat.rfind(')');  // state and parent follow the name, which may hold anything
    char state = '?';
    int parent = 0;
    if (name_end == std::string::npos || sscanf(stat.c_str() + name_end + 1, " %c %d", &state, &parent) != 2)
      continue;
    if (parent != getppid() || (state != 'T' && state != 't')) continue;
    const std::string name = NameOfRank(pid);
    if (!name.empty()) names += (names.empty() ? "" : ", ") + name;
  }
  closedir(directory);
  return names;
}

}  // namespace

MpiGuard::MpiGuard(const char* what, double stopped_seconds, double most_seconds)
    : what_(what),
      stopped_seconds_(stopped_seconds),
      most_seconds_(most_seconds),
      watcher_([this] { Watch(); }) {}

MpiGuard::~MpiGuard() {
  {
    const std::lock_guard lock(mutex_);
    end_ = true;
  }
  ended_.notify_one();
  watcher_.join();
}

void MpiGuard::Watch() {
  using Seconds = std::chrono::duration<double>;
  auto start = std::chrono::steady_clock::now(), last = start;
  const auto since = [](auto then) { return Seconds(std::chrono::steady_clock::now() - then).count(); };
  const Seconds interval(std::clamp(stopped_seconds_ / 4, 0.05, 1.0));
  std::string stopped;
  auto stopped_at = start;
  std::unique_lock lock(mutex_);
  while (!ended_.wait_for(lock, interval, [this] { return end_; })) {
    if (since(last) >
        2 + interval.count()) {  // this process was stopped itself, as all of a job that is suspended
      start += std::chrono::steady_clock::now() - last;
      stopped.clear();
    }
    last = std::chrono::steady_clock::now();
    const std::string now = StoppedRanks();
    if (now.empty() || now != stopped) {
      stopped = now;
      stopped_at = std::chrono::steady_clock::now();
    }
    if (!stopped.empty() && since(stopped_at) > stopped_seconds_) {
      log::error(
          "{} stopped (by SIGSTOP or a debugger) for {} s while others wait for it in stage '{}'; the job "
          "ends here",
          stopped, stopped_seconds_, what_);
    } else if (since(start) > most_seconds_) {
      log::error(
          "{} has not ended within {} s: ranks do not come, or hosts do not reach each other; the job ends "
          "here",
          what_, most_seconds_);
    } else {
      continue;
    }
    // The thread that is inside MPI cannot be asked to abort; the launcher ends the others when this one fails.
    fflush(nullptr);
    _exit(static_cast<int>(ErrorCode::kCommunication));
  }
}

}  // namespace onecopy::comm
