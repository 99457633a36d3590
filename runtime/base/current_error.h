// What is being handled, as an Error: for threads, parallel regions and stages, out of which nothing else may come.
#pragma once

#include <string_view>

#include "runtime/base/error.h"

namespace onecopy {

// What to do where memory is refused.
inline constexpr char kMemoryAdvice[] =
    "use fewer ranks on this host, a smaller --context or model, and see ulimit -v and the memory limit of "
    "its "
    "cgroup";

// In a catch clause. An Error stays as it is; memory that was refused and a thread that could not be started become kNoMemory
// with `doing`, as in "out of memory while loading"; anything else is kInternal.
Error CurrentError(std::string_view doing);

}  // namespace onecopy
