#define PCRE2_CODE_UNIT_WIDTH 8
#include "runtime/text/regex.h"

#include <pcre2.h>

#include <new>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"

namespace onecopy::text {
namespace {

// Published patterns take one or two steps per character. The limit is per search, and also bounds the
// quadratic ones (a run of spaces before a look-ahead) to well under a second.
constexpr uint32_t kMatchLimit = 20'000'000;
constexpr uint32_t kHeapLimitKib = 512 * 1024;
// Groups under a quantifier use stack per repetition: enough for words of a megabyte. Reserved, not touched.
constexpr size_t kJitStackStart = 32 << 10, kJitStackMax = 256 << 20;

std::string PcreMessage(int code) {
  PCRE2_UCHAR buffer[256] = {};
  pcre2_get_error_message(code, buffer, sizeof(buffer));
  return reinterpret_cast<const char*>(buffer);
}

PCRE2_SPTR Units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

// What \s is in Oniguruma, Rust and Python. PCRE2's \s also has U+180E.
constexpr std::string_view kSpaceSet = R"(\t-\r\x{85}\p{Z})";

class Translator {
 public:
  Translator(std::string_view pattern, std::string_view where) : pattern_(pattern), where_(where) {}

  std::string Run() {
    std::string out;
    while (at_ < pattern_.size()) {
      if (pattern_[at_] == '[') {
        out += Class();
      } else if (pattern_[at_] == '\\') {
        const std::string escape = Escape();
        if (escape == "\\s") {
          out += "[" + std::string(kSpaceSet) + "]";
        } else if (escape == "\\S") {
          out += "[^" + std::string(kSpaceSet) + "]";
        } else {
          out += escape;
        }
      } else {
        out += pattern_[at_++];
      }
    }
    return out;
  }

 private:
  [[noreturn]] void Refuse(std::string_view what) const {
    Fail(ErrorCode::kBadInput, "{}: the regular expression '{}' uses {} at byte {}, which is not supported",
         where_, Printable(pattern_), what, at_);
  }

  // A backslash and the character after it; the rest of \p{...} or \x{...} follows as plain text.
  std::string Escape() {
    if (at_ + 1 >= pattern_.size()) Refuse("a backslash without a character");
    const char c = pattern_[at_ + 1];
    if (c == 'h' || c == 'H') Refuse("\\h (a hexadecimal digit in Oniguruma, a space in PCRE2)");
    at_ += 2;
    return {'\\', c};
  }

  // "[...]", with at_ on its '['. An intersection with a second class becomes a look-ahead before the first.
  std::string Class() {
    std::string out(1, pattern_[at_++]);
    const bool negated = at_ < pattern_.size() && pattern_[at_] == '^';
    if (negated) out += pattern_[at_++];
    if (at_ < pattern_.size() && pattern_[at_] == ']') out += pattern_[at_++];
    while (at_ < pattern_.size() && pattern_[at_] != ']') {
      const std::string_view rest = pattern_.substr(at_);
      if (rest.starts_with("&&")) {
        if (negated) Refuse("an intersection of a negated class");
        return Intersection(out + "]");
      }
      if (rest.starts_with("[:")) {
        const size_t end = rest.find(":]");
        if (end == rest.npos) Refuse("'[:' without ':]'");
        out += rest.substr(0, end + 2);
        at_ += end + 2;
      } else if (rest[0] == '[') {
        Refuse("a class within a class");
      } else if (rest[0] == '\\') {
        const std::string escape = Escape();
        if (escape == "\\S") Refuse("\\S within a class");
        out += escape == "\\s" ? std::string(kSpaceSet) : escape;
      } else {
        out += rest[0];
        ++at_;
      }
    }
    if (at_ == pattern_.size()) Refuse("'[' without ']'");
    ++at_;
    return out + "]";
  }

  std::string Intersection(const std::string& first) {
    at_ += 2;
    if (at_ >= pattern_.size() || pattern_[at_] != '[') Refuse("'&&' without a class after it");
    const std::string second = Class();
    if (at_ >= pattern_.size() || pattern_[at_] != ']') Refuse("more than two classes joined by '&&'");
    ++at_;
    return "(?:(?=" + second + ")" + first + ")";
  }

  std::string_view pattern_, where_;
  size_t at_ = 0;
};

}  // namespace

struct RegexScratch::State {
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(kJitStackStart, kJitStackMax, nullptr);

  State() {
    if (context == nullptr || data == nullptr) throw std::bad_alloc();
    pcre2_set_match_limit(context, kMatchLimit);
    pcre2_set_heap_limit(context, kHeapLimitKib);
    // Null when PCRE2 was built without JIT: the interpreter then does the work.
    if (stack != nullptr) pcre2_jit_stack_assign(context, nullptr, stack);
  }
  ~State() {
    pcre2_jit_stack_free(stack);
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
};

RegexScratch::RegexScratch() : state_(std::make_unique<State>()) {}
RegexScratch::~RegexScratch() = default;

Regex::Regex(std::string_view pattern, std::string_view where) : where_(where) {
  const std::string translated = TranslateRegex(pattern, where);
  int code = 0;
  PCRE2_SIZE offset = 0;
  // MULTILINE: in Oniguruma ^ and $ stand at every line. NEVER_BACKSLASH_C: \C would split characters.
  pcre2_code* compiled = pcre2_compile(Units(translated), translated.size(),
                                       PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                                       &code, &offset, nullptr);
  if (compiled == nullptr) {
    Fail(ErrorCode::kBadInput, "{}: the regular expression '{}' does not compile: {} at byte {}", where,
         Printable(translated), PcreMessage(code), offset);
  }
  code_ = std::shared_ptr<void>(compiled, [](void* p) { pcre2_code_free(static_cast<pcre2_code*>(p)); });
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);  // where JIT is missing, matching is slower and the same
}

std::optional<Regex::Match> Regex::Find(std::string_view text, size_t offset, RegexScratch& scratch) const {
  RegexScratch::State& state = *scratch.state_;
  const int count = pcre2_match(static_cast<const pcre2_code*>(code_.get()), Units(text), text.size(), offset,
                                PCRE2_NO_UTF_CHECK, state.data, state.context);
  if (count == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (count < 0) {
    Fail(ErrorCode::kBadInput, "{}: splitting a text of {} bytes into words fails at byte {}: {}", where_,
         text.size(), offset, PcreMessage(count));
  }
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(state.data);
  // \K inside a look-ahead can put the beginning after the end.
  if (bounds[0] > bounds[1] || bounds[0] < offset) {
    Fail(ErrorCode::kBadInput,
         "{}: the regular expression moves its own match with \\K, which is not supported", where_);
  }
  return Match{bounds[0], bounds[1]};
}

std::string EscapeRegex(std::string_view literal) {
  std::string out;
  for (const char c : literal) {
    // PCRE2 takes a backslash before any ASCII character that is no letter or digit as that character.
    const bool plain = (c & 0x80) != 0 || (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
    if (!plain) out += '\\';
    out += c;
  }
  return out;
}

std::string TranslateRegex(std::string_view pattern, std::string_view where) {
  return Translator(pattern, where).Run();
}

}  // namespace onecopy::text
