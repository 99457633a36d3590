// onecopy-jinja: the program that renders chat templates, in a process of its own. A template is a program that comes
// with a model; here it can be ended whatever it does, has little memory, and can open no file, connection or process.
// Reads frames from its standard input and answers each on its standard output (renderer.h); ends with its input.
//
// Python is embedded, isolated: no environment variables, user or site packages, .pyc files or signal handlers.
#include <pybind11/embed.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <optional>
#include <string>

#include "runtime/jinja/environment_source.h"
#include "runtime/jinja/frame.h"

#if defined(__SANITIZE_ADDRESS__)
// Python leaves memory to the end of the process.
extern "C" const char* __asan_default_options() {
  return "detect_leaks=0";
}
#endif

namespace onecopy::jinja {
namespace {

namespace py = pybind11;

// Above what Python itself takes, which is about 60 MB of addresses.
constexpr rlim_t kMaxAddressBytes = 768ull << 20;

// Where Python's library and jinja2 are was found out when this was built.
void ConfigurePython(PyConfig* config) {
  PyPreConfig preconfig;
  PyPreConfig_InitIsolatedConfig(&preconfig);
  preconfig.utf8_mode = 1;
  Py_PreInitialize(&preconfig);
  PyConfig_InitIsolatedConfig(config);
  config->write_bytecode = 0;
  config->install_signal_handlers = 0;
  config->site_import = 0;  // .pth files run code, and there is nothing in them for us
  const auto decode = [config](wchar_t** to, const char* text) { PyConfig_SetBytesString(config, to, text); };
  decode(&config->home, ONECOPY_PYTHON_HOME);
  decode(&config->program_name, ONECOPY_PYTHON_HOME "/bin/python3");
}

// Returns environment.py's answer().
py::object LoadEnvironment() {
  py::module_::import("sys").attr("path").attr("append")(ONECOPY_JINJA2_FOLDER);
  py::dict names;
  names["__name__"] = "onecopy_jinja";
  py::exec(kEnvironmentSource, names);
  return names["answer"];
}

// From here on there is nothing to be had but the memory that is there.
void CloseDoors() {
  const auto limit = [](auto resource, rlim_t most) {
    const rlimit value{most, most};
    setrlimit(resource, &value);
  };
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_FSIZE, 0);
  limit(RLIMIT_NPROC, 0);
  limit(RLIMIT_NOFILE, 2);  // those of the input and output, which are open
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  limit(RLIMIT_AS, kMaxAddressBytes);  // sanitizers reserve terabytes
#endif
}

void Serve(const py::object& answer) {
  while (const std::optional<std::string> request = ReadFrame(STDIN_FILENO, kMaxFrameBytes)) {
    // SIGALRM ends the process wherever it is, also where no byte code runs; the other side says why.
    alarm(kMaxSeconds);
    const auto reply = answer(py::bytes(*request)).cast<std::string>();
    alarm(0);
    if (!WriteFrame(STDOUT_FILENO, reply)) return;
  }
}

int Run() {
  PyConfig config;
  ConfigurePython(&config);
  const PyStatus status = Py_InitializeFromConfig(&config);
  PyConfig_Clear(&config);
  if (PyStatus_Exception(status)) {
    WriteFrame(STDOUT_FILENO,
               std::string("Python does not start: ") + (status.err_msg ? status.err_msg : "?"));
    return 1;
  }
  try {
    const py::object answer = LoadEnvironment();
    CloseDoors();
    if (!WriteFrame(STDOUT_FILENO, "")) return 0;  // ready
    Serve(answer);
    return 0;
  } catch (const py::error_already_set& error) {
    WriteFrame(STDOUT_FILENO, error.what());
  } catch (const std::exception& error) {
    WriteFrame(STDOUT_FILENO, error.what());
  }
  return 1;
}

}  // namespace
}  // namespace onecopy::jinja

int main() {
  return onecopy::jinja::Run();
}
