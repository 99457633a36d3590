// What ends the process where no exception can go: destructors and threads of libraries that ask for memory.
#pragma once

namespace onecopy::cli {

// From now on memory that is refused there ends the process as it does elsewhere, by one sentence and exit code 4, on every
// rank: nlohmann::json's destructor allocates, and Open MPI, prometheus-cpp and cpp-httplib have threads. Anything else
// ends as before (std::abort).
void EndWithoutMemoryAsAnError();

}  // namespace onecopy::cli
