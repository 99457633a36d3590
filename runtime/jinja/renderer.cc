#include "runtime/jinja/renderer.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/jinja/frame.h"

namespace onecopy::jinja {
namespace {

constexpr const char* kProgram = "onecopy-jinja";
constexpr size_t kMaxTemplateBytes = 1 << 20;  // the longest in use have 30 kB
// To start, where the machine is busy, and to answer: the worker's own alarm comes first.
constexpr unsigned kStartSeconds = 60, kAnswerSeconds = kMaxSeconds + 20;

std::string Sibling() {
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  return error ? std::string() : (self.parent_path() / kProgram).string();
}

// Nothing of ours but what says the time zone, and where libraries are.
std::vector<std::string> WorkerEnvironment() {
  std::vector<std::string> environment;
  for (const char* name : {"TZ", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"})
    if (const char* value = std::getenv(name)) environment.push_back(fmt::format("{}={}", name, value));
  return environment;
}

// Returns 0, or why not (errno). The child has `fd` as its input and output, this process's stderr, and no other file.
int Spawn(const std::string& program, int fd, pid_t* pid) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, fd, STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&files, fd, STDOUT_FILENO);
  posix_spawn_file_actions_addclosefrom_np(&files, STDERR_FILENO + 1);
  posix_spawnattr_init(&attributes);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &all);
  // A process group of its own: Ctrl-C is for us.
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  std::vector<std::string> environment = WorkerEnvironment();
  std::vector<char*> variables;
  for (std::string& variable : environment) variables.push_back(variable.data());
  variables.push_back(nullptr);
  std::string name = program;
  char* arguments[] = {name.data(), nullptr};
  const int error = posix_spawn(pid, program.c_str(), &files, &attributes, arguments, variables.data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return error;
}

void SetTimeout(int fd, unsigned seconds) {
  const timeval timeout{.tv_sec = static_cast<time_t>(seconds), .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
}

}  // namespace

class Renderer::Worker {
 public:
  // Errors: kUsage.
  explicit Worker(const std::string& program) {
    std::error_code ignored;
    if (!std::filesystem::exists(program, ignored))
      Fail(ErrorCode::kUsage,
           "chat templates need the program {}, which is not there: this onecopy was built without them; "
           "install "
           "pybind11-dev, libpython3-dev and python3-jinja2 and build again (launch/setup does both)",
           program);
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
      Fail(ErrorCode::kUsage, "no socket for the renderer of chat templates: {}", std::strerror(errno));
    fd_ = fds[0];
    const int error = Spawn(program, fds[1], &pid_);
    close(fds[1]);
    if (error != 0) {
      close(fd_);
      Fail(ErrorCode::kUsage, "{} cannot be started: {}", program, std::strerror(error));
    }
    SetTimeout(fd_, kStartSeconds);
    const std::optional<std::string> ready = ReadFrame(fd_, kMaxFrameBytes);
    if (ready && ready->empty()) {
      SetTimeout(fd_, kAnswerSeconds);
      return;
    }
    const std::string end = End();
    Fail(ErrorCode::kUsage, "the renderer of chat templates does not start: {}; is python3-jinja2 installed?",
         ready ? *ready : end);
  }
  ~Worker() {
    if (pid_ > 0) End();
  }

  // nullopt where the worker is gone, or silent for longer than it may.
  std::optional<std::string> Ask(const std::string& request) {
    if (!WriteFrame(fd_, request)) return std::nullopt;
    return ReadFrame(fd_, kMaxFrameBytes);
  }

  // Ends it if it has not ended by itself; says how.
  std::string End() {
    close(fd_);
    kill(pid_, SIGKILL);  // it has nothing to save; a signal it died of before stays the reason
    int status = 0;
    while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) continue;
    pid_ = -1;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
      return fmt::format("it took longer than {} s", kMaxSeconds);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
      return fmt::format("it gave no answer for {} s", kAnswerSeconds);
    return WIFSIGNALED(status) ? fmt::format("its process was ended by signal {}", WTERMSIG(status))
                               : fmt::format("its process ended with {}", WEXITSTATUS(status));
  }

 private:
  int fd_ = -1;
  pid_t pid_ = -1;
};

Renderer::Renderer(std::string program) : program_(program.empty() ? Sibling() : std::move(program)) {}
Renderer::~Renderer() = default;

std::string Renderer::Render(const Request& request) {
  if (request.source.size() > kMaxTemplateBytes)
    Fail(ErrorCode::kBadInput, "the chat template has {} bytes; at most {} are taken", request.source.size(),
         kMaxTemplateBytes);
  nlohmann::ordered_json message;
  message["template"] = request.source;
  message["variables"] = request.variables;
  message["now"] = request.now ? nlohmann::ordered_json(*request.now) : nlohmann::ordered_json();
  message["max_characters"] = kMaxTextCharacters;
  // Bytes that are not UTF-8 count as U+FFFD, as in the tokenizer.
  const std::string bytes = message.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  if (bytes.size() > kMaxFrameBytes)
    Fail(ErrorCode::kBadInput, "a conversation of {} bytes is too long for a chat template", bytes.size());

  const std::lock_guard lock(mutex_);
  if (!worker_) worker_ = std::make_unique<Worker>(program_);
  const std::optional<std::string> answer = worker_->Ask(bytes);
  if (!answer) {
    const std::string end = worker_->End();
    worker_.reset();
    Fail(ErrorCode::kBadInput, "the chat template was given up: {}", end);
  }
  // The template has the whole process to itself, so its answer is not trusted either.
  const auto parsed = nlohmann::json::parse(*answer, nullptr, /*allow_exceptions=*/false);
  const auto field = [&](const char* name) -> const std::string* {
    const auto found = parsed.is_object() ? parsed.find(name) : parsed.end();
    return found != parsed.end() ? found->get_ptr<const std::string*>() : nullptr;
  };
  if (const std::string* text = field("text")) return *text;
  const std::string* error = field("error");
  Fail(ErrorCode::kBadInput, "{}", error ? *error : "the chat template gave no text");
}

}  // namespace onecopy::jinja
