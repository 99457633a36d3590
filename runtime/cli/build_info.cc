#include "runtime/cli/build_info.h"

#include <fmt/format.h>

#include <cstdlib>

#include "kernels/registry.h"
#include "runtime/comm/communicator.h"

namespace onecopy::cli {

std::string VersionText() {
  std::string tables;
  for (const kernels::TableEntry& entry : kernels::AllTables())
    tables += fmt::format("{}{}", tables.empty() ? "" : ", ", entry.name);
  std::string error;
  const kernels::KernelTable* best = kernels::SelectTable("", &error);
  return fmt::format(
      "onecopy {} ({})\n"
      "build:   {}, {}\n"
      "MPI:     {}\n"
      "kernels: {}; here: {}\n"
      "chat templates: {}, line editing: {}",
      ONECOPY_VERSION, kCommit, ONECOPY_BUILD_TYPE, ONECOPY_COMPILER, comm::MpiVersion(), tables,
      best != nullptr ? best->name : "none", ONECOPY_WITH_JINJA, ONECOPY_WITH_LIBEDIT);
}

}  // namespace onecopy::cli
