// LineReader: lines that a person types, with editing and history where the input is a terminal (libedit, where it was there
// to build with); lines as they come elsewhere. The prompt is on stderr, stdout is for results. Belongs to one thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace onecopy::cli {

class LineReader {
 public:
  enum class Outcome { kLine, kEnd, kInterrupted };

  // prompt: shown before each line where stderr is, or leads to, a terminal.
  explicit LineReader(std::string prompt);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // *line: without its newline. kEnd: the input ended (Ctrl-D). kInterrupted: Ctrl-C; a signal handler without SA_RESTART is
  // needed for that.
  Outcome Read(std::string* line);

  // Whether a person sees what is written: prompts and hints.
  bool interactive() const { return interactive_; }

 private:
  class Editor;
  Outcome ReadPlain(std::string* line);

  const std::string prompt_;
  const bool interactive_;
  std::unique_ptr<Editor> editor_;
  std::string buffer_;  // read, and not yet given
};

}  // namespace onecopy::cli
