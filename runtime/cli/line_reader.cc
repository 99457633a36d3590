#include "runtime/cli/line_reader.h"

#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <utility>

#if ONECOPY_HAS_LIBEDIT
#include <histedit.h>
#endif

namespace onecopy::cli {

#if ONECOPY_HAS_LIBEDIT

class LineReader::Editor {
 public:
  explicit Editor(const std::string& prompt) : prompt_(prompt) {
    std::setlocale(LC_CTYPE, "");  // whole characters are edited
    edit_ = el_init("onecopy", stdin, stderr, stderr);
    history_ = history_init();
    HistEvent event;
    history(history_, &event, H_SETSIZE, 1000);
    history(history_, &event, H_SETUNIQUE, 1);
    el_set(edit_, EL_CLIENTDATA, this);
    el_set(edit_, EL_PROMPT, &Prompt);
    el_set(edit_, EL_EDITOR, "emacs");
    el_set(edit_, EL_HIST, history, history_);
    // While a line is edited, Ctrl-C is a key like others rather than a signal.
    el_set(edit_, EL_SETTY, "-d", "-isig", nullptr);
    el_set(edit_, EL_ADDFN, "onecopy-interrupt", "leave", &OnInterrupt);
    el_set(edit_, EL_BIND, "^C", "onecopy-interrupt", nullptr);
    el_set(edit_, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  }
  ~Editor() {
    history_end(history_);
    el_end(edit_);
  }

  Outcome Read(std::string* line) {
    interrupted_ = false;
    int n = 0;
    const char* text = el_gets(edit_, &n);
    if (interrupted_) {
      std::fputs("\n", stderr);
      return Outcome::kInterrupted;
    }
    if (text == nullptr || n <= 0) {
      std::fputs("\n", stderr);
      return Outcome::kEnd;
    }
    line->assign(text, static_cast<size_t>(n));
    HistEvent event;
    if (*line != "\n") history(history_, &event, H_ENTER, line->c_str());
    if (line->ends_with('\n')) line->pop_back();
    return Outcome::kLine;
  }

 private:
  static Editor* Of(EditLine* edit) {
    void* editor = nullptr;
    el_get(edit, EL_CLIENTDATA, &editor);
    return static_cast<Editor*>(editor);
  }
  static char* Prompt(EditLine* edit) { return Of(edit)->prompt_.data(); }
  // Takes back what was typed; leaves where that is nothing.
  static unsigned char OnInterrupt(EditLine* edit, int) {
    const LineInfo* line = el_line(edit);
    if (line->lastchar != line->buffer) {
      const auto length = static_cast<int>(line->lastchar - line->buffer);
      el_cursor(edit, static_cast<int>(line->lastchar - line->cursor));
      el_deletestr(edit, length);
      return CC_REFRESH;
    }
    Of(edit)->interrupted_ = true;
    return CC_EOF;
  }

  std::string prompt_;
  EditLine* edit_;
  History* history_;
  bool interrupted_ = false;
};

#else

class LineReader::Editor {
 public:
  Outcome Read(std::string*) { return Outcome::kEnd; }
};

#endif

LineReader::LineReader(std::string prompt)
    : prompt_(std::move(prompt)),
      interactive_(isatty(STDERR_FILENO) == 1 || std::getenv("ONECOPY_TERMINAL") != nullptr) {
#if ONECOPY_HAS_LIBEDIT
  if (isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1) editor_ = std::make_unique<Editor>(prompt_);
#endif
}
LineReader::~LineReader() = default;

LineReader::Outcome LineReader::Read(std::string* line) {
  if (editor_) return editor_->Read(line);
  if (interactive_) {
    std::fputs(prompt_.c_str(), stderr);
    std::fflush(stderr);
  }
  return ReadPlain(line);
}

LineReader::Outcome LineReader::ReadPlain(std::string* line) {
  while (true) {
    const size_t end = buffer_.find('\n');
    if (end != std::string::npos) {
      line->assign(buffer_, 0, end);
      buffer_.erase(0, end + 1);
      if (line->ends_with('\r')) line->pop_back();
      return Outcome::kLine;
    }
    char bytes[4096];
    const ssize_t n = read(STDIN_FILENO, bytes, sizeof(bytes));
    if (n > 0) {
      buffer_.append(bytes, static_cast<size_t>(n));
      continue;
    }
    if (n < 0 && errno == EINTR) return Outcome::kInterrupted;
    if (buffer_.empty()) return Outcome::kEnd;
    *line = std::exchange(buffer_, {});  // the last line may lack its newline
    return Outcome::kLine;
  }
}

}  // namespace onecopy::cli
