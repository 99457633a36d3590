#include "runtime/cli/interrupt.h"

#include <csignal>

namespace onecopy::cli {
namespace {

volatile std::sig_atomic_t times = 0;

void Install(void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;  // no SA_RESTART: a read of the terminal shall return
  sigaction(SIGINT, &action, nullptr);
}

void Count(int) {
  times = times + 1;
  if (times >= 2) Install(SIG_DFL);
}

}  // namespace

Interrupt::Interrupt() {
  Reset();
}

Interrupt::~Interrupt() {
  Install(SIG_DFL);
}

int Interrupt::count() const {
  return times;
}

void Interrupt::Reset() {
  times = 0;
  Install(Count);
}

void Interrupt::Ignore() {
  Install(SIG_IGN);
}

}  // namespace onecopy::cli
