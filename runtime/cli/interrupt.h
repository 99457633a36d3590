// Interrupt: Ctrl-C (SIGINT) as something to look at rather than the end. One at a time in a process.
#pragma once

namespace onecopy::cli {

class Interrupt {
 public:
  // Until destruction SIGINT only counts. The third since Reset ends the process, whatever it does.
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  int count() const;
  void Reset();

  // For ranks that follow another one, which is told: SIGINT does nothing.
  static void Ignore();
};

}  // namespace onecopy::cli
