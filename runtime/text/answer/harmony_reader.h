// HarmonyReader: answers in the harmony format of gpt-oss, in several messages of which each has a channel and maybe a
// recipient: "analysis" is thought, "final" and the preambles in "commentary" are said, and what goes to functions.f is a call.
// One per answer; not thread-safe. Source: openai/harmony, docs/format.md.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/answer/answer_sink.h"
#include "runtime/text/answer/arguments_stream.h"
#include "runtime/text/answer/mark_scanner.h"
#include "runtime/text/answer/tool_set.h"

namespace onecopy::text {

class HarmonyReader {
 public:
  // The references outlive it. Without tools there are no calls. The answer begins in a header, since prompts end with
  // "<|start|>assistant". control: those of Marks that come through Mark, and are no marks as text.
  HarmonyReader(const ToolSet& tools, std::vector<std::string_view> control, AnswerSink& sink);

  void Text(std::string_view text);
  void Mark(std::string_view mark);
  void Finish();

  static std::vector<std::string_view> Marks();

 private:
  enum class Place { kHeader, kContent, kThought, kCallStart, kArguments, kCallEnd };

  void Byte(char c);
  void BeginMessage();
  void EndMessage();

  const ToolSet& tools_;
  std::vector<std::string_view> text_marks_;
  AnswerSink& sink_;
  Place place_ = Place::kHeader;
  MarkScanner marks_;
  std::string header_;  // with the marks in it
  std::string call_;    // of kCallStart: white space so far
  std::string function_;
  std::optional<ArgumentsStream> arguments_;
  bool any_message_ = false;
};

}  // namespace onecopy::text
