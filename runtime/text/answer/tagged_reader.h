// TaggedReader: answers whose thoughts and tool calls stand between marks (tags) in the text, of every family but harmony. It
// reads byte by byte, so nothing depends on how the text was cut. Marks that a vocabulary has as control tokens come through
// Mark and count wherever they stand: a model writes those only when it means them. In plain text a thought begins only where
// nothing was said before, since answers may be about marks. One per answer; not thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/answer/answer_sink.h"
#include "runtime/text/answer/arguments_stream.h"
#include "runtime/text/answer/call_syntax.h"
#include "runtime/text/answer/mark_scanner.h"
#include "runtime/text/answer/python_values.h"

namespace onecopy::text {

class TaggedReader {
 public:
  // The references outlive it. Without tools there are no calls. control: those of Marks that come through Mark, and are no
  // marks as text.
  TaggedReader(const AnswerFormat& format, const ToolSet& tools, std::vector<std::string_view> control,
               bool in_thought, AnswerSink& sink);

  // Whole characters.
  void Text(std::string_view text);
  // A control token that is one of `control`.
  void Mark(std::string_view mark);
  void Finish();

  // All marks of a format.
  static std::vector<std::string_view> Marks(const AnswerFormat& format);

 private:
  enum class Place { kContent, kThought, kHead, kObject, kPython, kBody, kArguments, kTail };

  void Byte(char c);
  void ContentByte(char c);
  void ThoughtByte(char c);
  void CallByte(char c);
  void TailByte(char c);
  void BodyByte();
  bool InsideOfValue(std::string_view text);
  void ArgumentsByte(char c);
  void Fire(std::string_view mark);
  void OpenThought();
  void CloseThought();
  void BeginCalls(std::string_view mark);
  void ApplyHead();
  void BeginCollecting(Place place, size_t offset);
  void CollectedByte(char c);
  void Give(const ParsedCall& call);
  void AfterCall();
  void ApplyTail();
  void Reject();
  void ReadAgain(const std::string& text);
  void InterruptCall(std::string_view mark);
  bool IsBegin(std::string_view mark) const;
  bool IsInner(std::string_view mark) const;
  bool IsControl(std::string_view mark) const;
  void AppendMark(std::string_view mark);
  std::string TakeCallText();

  const AnswerFormat& format_;
  const ToolSet& tools_;
  const SyntaxContext context_;
  const CallSyntax* const syntax_;  // nullptr: no calls are read
  const std::vector<std::string_view> control_;
  AnswerSink& sink_;

  Place place_ = Place::kContent;
  MarkScanner marks_;
  bool bare_tried_ = false;  // what looks like a call without marks was none
  bool said_open_ = false;   // inside of said_open and said_close

  std::string call_;       // the text of the call that is read, or after it, from its mark on
  size_t begin_size_ = 0;  // of the mark at its beginning
  std::vector<std::pair<size_t, size_t>> control_spans_;  // offsets and sizes of control tokens in it
  size_t offset_ = 0;                                     // where in it the object begins
  size_t attempts_ = 0;                                   // to read a body
  CallHead head_;
  std::optional<ArgumentsStream> arguments_;
  JsonScanner object_;
  PythonBrackets brackets_;
};

}  // namespace onecopy::text
