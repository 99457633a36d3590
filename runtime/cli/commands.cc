#include "runtime/cli/commands.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace onecopy::cli {

std::vector<Command> AllCommands() {
  return {
      GenerateCommand(), ChatCommand(),       ServeCommand(),           BenchCommand(),  PlanCommand(),
      InspectCommand(),  TokenizeCommand(),   TemplateCommand(),        LogitsCommand(), QuantizeCommand(),
      DoctorCommand(),   PerplexityCommand(), BenchCollectivesCommand()};
}

bool PrintToReader(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0)
    return true;
  if (errno == EPIPE) return false;
  Fail(ErrorCode::kUsage, "standard output cannot be written: {}", std::strerror(errno));
}

void Print(const std::string& text) {
  [[maybe_unused]] const bool taken = PrintToReader(text);
}

}  // namespace onecopy::cli
