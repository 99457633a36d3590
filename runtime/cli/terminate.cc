#include "runtime/cli/terminate.h"

#include <cstdio>
#include <exception>
#include <new>

#include "runtime/base/current_error.h"
#include "runtime/base/error.h"
#include "runtime/comm/communicator.h"

namespace onecopy::cli {
namespace {

std::terminate_handler abort_loudly = nullptr;

// Asks for no memory itself: stderr has no buffer, and log lines have.
void Terminate() {
  if (std::current_exception() != nullptr) {
    try {
      throw;
    } catch (const std::bad_alloc&) {
      std::fprintf(stderr, "onecopy: out of memory; %s\n", kMemoryAdvice);
      comm::AbortMpi(static_cast<int>(ErrorCode::kNoMemory));
    } catch (...) {
    }
  }
  abort_loudly();
}

}  // namespace

void EndWithoutMemoryAsAnError() {
  abort_loudly = std::set_terminate(Terminate);
}

}  // namespace onecopy::cli
