// What a model says, by every format of calls. The first byte is the format, the second the options, then the text.
#include <map>
#include <random>

#include "runtime/base/printable.h"
#include "runtime/text/answer/answer_parser.h"
#include "runtime/text/answer/forced_call.h"
#include "runtime/text/chat_template.h"
#include "tests/fuzz/support.h"
#include "tests/fuzz/vocabularies.h"

namespace onecopy::fuzz {
namespace {

using nlohmann::ordered_json;

struct Case {
  text::AnswerFormat format;
  std::vector<std::string_view> marks;
  text::Tokenizer bytes;                               // no token but bytes
  text::Tokenizer control;                             // and the marks as control tokens
  text::Tokenizer cut;                                 // and beginnings and ends of marks as plain text
  std::map<std::string, int32_t, std::less<>> pieces;  // of `cut`
};

Case MakeCase(const text::AnswerFormat& format) {
  const std::vector<std::string_view> with_doubles = format.calls == text::CallSyntaxKind::kHarmony
                                                         ? text::HarmonyReader::Marks()
                                                         : text::TaggedReader::Marks(format);
  std::vector<std::string_view> marks;
  for (const std::string_view mark : with_doubles)
    if (std::find(marks.begin(), marks.end(), mark) == marks.end()) marks.push_back(mark);
  nlohmann::json cut = ByteLevelMetadata("gpt-2", {}, {});
  std::map<std::string, int32_t, std::less<>> pieces;
  for (int byte = 0; byte < 256; ++byte) pieces.emplace(std::string(1, static_cast<char>(byte)), byte);
  const auto add = [&](std::string_view piece) {
    if (piece.empty() || !pieces.emplace(piece, static_cast<int32_t>(pieces.size())).second) return;
    std::string spelled;
    for (const char c : piece) spelled += text::ByteToAlphabet(static_cast<uint8_t>(c));
    cut["tokenizer.ggml.tokens"].push_back(spelled);
    cut["tokenizer.ggml.token_type"].push_back(1);
  };
  for (const std::string_view mark : marks)
    for (size_t i = 1; i <= mark.size(); ++i) {
      add(mark.substr(0, i));
      add(mark.substr(i));
    }
  for (const char* more :
       {"\n\n", "{\"", "\": ", "\"}", "}}", "name", "arguments", "\": {\"", " {", "><", "</"})
    add(more);
  return {format,
          marks,
          text::Tokenizer::FromGguf(ByteLevelMetadata("gpt-2", {}, {})),
          text::Tokenizer::FromGguf(ByteLevelMetadata("gpt-2", {}, marks)),
          text::Tokenizer::FromGguf(cut),
          std::move(pieces)};
}

// The text in tokens of `cut`, of lengths that look random and follow from seed.
std::vector<int32_t> CutAtRandom(const Case& one, std::string_view text, uint32_t seed) {
  std::minstd_rand random(seed + 1);
  std::vector<int32_t> ids;
  while (!text.empty()) {
    auto found = one.pieces.end();
    size_t bytes = 1 + random() % 24;
    for (; (found = one.pieces.find(text.substr(0, bytes))) == one.pieces.end(); --bytes) continue;
    ids.push_back(found->second);
    text.remove_prefix(found->first.size());
  }
  return ids;
}

const Case& CaseNumber(size_t number) {
  static const std::vector<Case> all = [] {
    std::vector<Case> made;
    for (const std::string_view name : text::AnswerFormatNames())
      made.push_back(MakeCase(text::AnswerFormatNamed(name)));
    return made;
  }();
  return all[number % all.size()];
}

const ordered_json& Tools() {
  static const ordered_json tools =
      ordered_json::parse(R"([{"name": "f", "parameters": {"type": "object", "properties":
    {"a": {"type": "string"}, "b": {"type": "integer"}, "c": {"type": ["array", "null"]}, "d": {"enum": ["x", "y"]},
     "e": {"anyOf": [{"type": "object"}, {"type": "boolean"}]}}, "required": ["a"]}}, {"name": "g"}])");
  return tools;
}

struct Result {
  std::string shown;
  ordered_json message;
  bool operator==(const Result&) const = default;
};

Result Read(const Case& one, const text::Tokenizer& tokenizer, const text::AnswerOptions& options,
            const std::vector<int32_t>& ids) {
  text::AnswerParser parser(tokenizer, one.format, options);
  Result result;
  int calls = 0;
  text::AnswerDelta::Kind last = text::AnswerDelta::Kind::kCallArguments;
  const auto add = [&](const std::vector<text::AnswerDelta>& deltas) {
    for (const text::AnswerDelta& delta : deltas) {
      Require(!delta.text.empty() && IsUtf8(delta.text), "a delta is no text");
      const bool begins = delta.kind == text::AnswerDelta::Kind::kCallBegin;
      if (begins) Require(delta.call == calls++, "call {} begins out of turn", delta.call);
      if (begins || delta.kind != last) result.shown += "\x01" + std::to_string(static_cast<int>(delta.kind));
      result.shown += delta.text;
      last = delta.kind;
    }
  };
  for (const int32_t id : ids) add(parser.Push(id));
  add(parser.Flush());
  result.message = parser.Message();
  Require(parser.num_calls() == static_cast<size_t>(calls), "{} calls, {} of them shown", parser.num_calls(),
          calls);
  if (result.message.contains("tool_calls"))
    for (const ordered_json& call : result.message["tool_calls"])
      Require(call["function"]["name"].is_string() && call["function"]["arguments"].is_string(),
              "a call without form");
  return result;
}

}  // namespace
}  // namespace onecopy::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onecopy;        // NOLINT
  using namespace onecopy::fuzz;  // NOLINT
  std::string_view text = View(data, size);
  const Case& one = CaseNumber(TakeNumber<uint8_t>(&text));
  const auto flags = TakeNumber<uint8_t>(&text);
  text::AnswerOptions options;
  if ((flags & 1) == 0) options.tools = Tools();
  options.in_thought = (flags & 2) != 0 && !one.format.thought_open.empty();
  const Budget budget(4, (8 << 20) + 1000 * size);
  // However the text is cut into tokens, the deltas joined are the same.
  std::vector<int32_t> bytes;
  for (const char c : text) bytes.push_back(static_cast<uint8_t>(c));
  const Result by_bytes = Read(one, one.bytes, options, bytes);
  const Result by_pieces = Read(one, one.cut, options, CutAtRandom(one, text, flags));
  Require(by_pieces == by_bytes, "it depends on how the text is cut: \"{}\" and \"{}\"",
          Printable(by_bytes.shown, 2000), Printable(by_pieces.shown, 2000));
  // With marks that are control tokens none of them is said.
  const Result with_control = Read(one, one.control, options, text::EncodeChat(one.control, text));
  if (with_control.message["content"].is_string() && (flags & 4) != 0) {
    const std::string said = with_control.message["content"];
    for (const std::string_view mark : one.marks)
      Require(said.find(mark) == std::string::npos || text.find(mark) == std::string_view::npos,
              "the mark {} shows in \"{}\"", mark, Printable(said));
  }
  return 0;
}
