#include "runtime/text/answer/answer_parser.h"

#include <utility>

namespace onecopy::text {

AnswerParser::AnswerParser(const Tokenizer& tokenizer, const AnswerFormat& format,
                           const AnswerOptions& options)
    : tokenizer_(tokenizer),
      format_(format),
      tools_(options.tools),
      detokenizer_(tokenizer, {}),
      sink_(format.calls, options.seed) {
  const bool harmony = format_.calls == CallSyntaxKind::kHarmony;
  for (const std::string_view mark : harmony ? HarmonyReader::Marks() : TaggedReader::Marks(format_)) {
    const int32_t id = tokenizer_.Find(mark);
    if (id >= 0 && tokenizer_.is_special(id)) control_[id] = mark;
  }
  std::vector<std::string_view> control;
  for (const auto& [id, mark] : control_) control.push_back(mark);
  if (harmony) {
    reader_.emplace<HarmonyReader>(tools_, control, sink_);
  } else {
    reader_.emplace<TaggedReader>(format_, tools_, control, options.in_thought, sink_);
  }
}

AnswerParser::~AnswerParser() = default;

std::vector<AnswerDelta> AnswerParser::Push(int32_t id) {
  const auto mark = control_.find(id);
  // A mark ends a character that is not whole.
  const std::string text = mark == control_.end() ? detokenizer_.Push(id) : detokenizer_.Flush();
  std::visit(
      [&](auto& reader) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(reader)>, std::monostate>) {
          reader.Text(text);
          if (mark != control_.end()) reader.Mark(mark->second);
        }
      },
      reader_);
  return sink_.Take();
}

std::vector<AnswerDelta> AnswerParser::Flush() {
  const std::string text = detokenizer_.Flush();
  std::visit(
      [&](auto& reader) {
        if constexpr (!std::is_same_v<std::decay_t<decltype(reader)>, std::monostate>) {
          reader.Text(text);
          reader.Finish();
        }
      },
      reader_);
  return sink_.Take();
}

}  // namespace onecopy::text
