#include "runtime/cli/commands.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <optional>

namespace onecopy::cli {

std::vector<Command> AllCommands() {
  return {GenerateCommand(), ChatCommand(),     ServeCommand(),      BenchCommand(),      PlanCommand(),
          InspectCommand(),  TokenizeCommand(), TemplateCommand(),   LogitsCommand(),
          QuantizeCommand(), DoctorCommand(),   PerplexityCommand(), BenchCollectivesCommand()};
}

void OnFirstRank(comm::Communicator& comm, const char* stage, const std::function<void()>& body) {
  std::optional<Error> error;
  if (comm.rank() == 0) {
    try {
      body();
    } catch (const Error& e) {
      error = e;
    }
  }
  comm.Agree(stage, error ? &*error : nullptr);
}

void Print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0)
    Fail(ErrorCode::kUsage, "standard output cannot be written: {}", std::strerror(errno));
}

}  // namespace onecopy::cli
