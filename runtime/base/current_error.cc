#include "runtime/base/current_error.h"

#include <new>
#include <system_error>

namespace onecopy {

Error CurrentError(std::string_view doing) {
  try {
    throw;
  } catch (const Error& e) {
    return e;
  } catch (const std::bad_alloc&) {
    return {ErrorCode::kNoMemory, fmt::format("out of memory while {}; {}", doing, kMemoryAdvice)};
  } catch (const std::system_error& e) {
    if (e.code() == std::errc::resource_unavailable_try_again)
      return {ErrorCode::kNoMemory,
              fmt::format("no thread could be started while {}: {}; raise ulimit -u and -v, and the "
                          "pids.max of its cgroup, or use fewer --threads",
                          doing, e.code().message())};
    return {ErrorCode::kInternal,
            fmt::format("{} while {}; this is a bug in onecopy, please report it", e.what(), doing)};
  } catch (const std::exception& e) {
    return {ErrorCode::kInternal,
            fmt::format("{} while {}; this is a bug in onecopy, please report it", e.what(), doing)};
  }
}

}  // namespace onecopy
