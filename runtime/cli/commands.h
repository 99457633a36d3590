// The table of commands, in the order of --help.
#pragma once

#include <vector>

#include "runtime/cli/command.h"

namespace onecopy::cli {

std::vector<Command> AllCommands();

}  // namespace onecopy::cli
