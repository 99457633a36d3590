#include "runtime/text/answer/answer_format.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"

namespace onecopy::text {
namespace {

struct FormatRow {
  CallSyntaxKind kind;
  std::string_view name;
  // A template that contains the first and, if there is one, the second shows this syntax. The first row that fits is taken, so
  // marks of one family stand before those that others use too.
  std::string_view sign, other_sign;
  // Marks of thoughts where the format is chosen by name; templates say their own.
  std::string_view thought_open = "<think>", thought_close = "</think>";
};

constexpr FormatRow kFormats[] = {
    {CallSyntaxKind::kHarmony, "harmony", "<|channel|>", "<|message|>", "", ""},
    {CallSyntaxKind::kMiniMax, "minimax", "<minimax:tool_call>", ""},
    {CallSyntaxKind::kDsml, "dsml", "｜DSML｜", ""},
    {CallSyntaxKind::kSeedXml, "seed-xml", "<seed:tool_call>", "", "<seed:think>", "</seed:think>"},
    {CallSyntaxKind::kKimi, "kimi", "<|tool_calls_section_begin|>", ""},
    {CallSyntaxKind::kDeepSeek, "deepseek", "<｜tool▁calls▁begin｜>", ""},
    {CallSyntaxKind::kGlm, "glm", "<arg_key>", "<arg_value>"},
    {CallSyntaxKind::kQwenXml, "qwen-xml", "<function=", "<parameter="},
    {CallSyntaxKind::kMistral, "mistral", "[TOOL_CALLS]", "", "[THINK]", "[/THINK]"},
    {CallSyntaxKind::kGranite, "granite", "<|tool_call|>", ""},
    {CallSyntaxKind::kHermes, "hermes", "<tool_call>", ""},
    {CallSyntaxKind::kLlama, "llama", "<|python_tag|>", "", "", ""},
    {CallSyntaxKind::kLlama, "llama", "<|python_start|>", "", "", ""},
    {CallSyntaxKind::kLlama, "llama", "\"parameters\": dictionary of argument name", "", "", ""},
    // Last: an empty sign is in every template.
    {CallSyntaxKind::kNone, "plain", "", ""},
};

constexpr std::pair<std::string_view, std::string_view> kThoughtMarks[] = {
    {"<seed:think>", "</seed:think>"}, {"[THINK]", "[/THINK]"}, {"<think>", "</think>"}};

constexpr std::string_view kSaidOpen = "<response>", kSaidClose = "</response>";

bool Contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

bool SpeaksHarmony(const Tokenizer& tokenizer) {
  return tokenizer.Find("<|start|>") >= 0 && tokenizer.Find("<|channel|>") >= 0 &&
         tokenizer.Find("<|message|>") >= 0;
}

}  // namespace

AnswerFormat ChooseAnswerFormat(std::string_view chat_template, const Tokenizer& tokenizer) {
  if (SpeaksHarmony(tokenizer)) return AnswerFormatNamed("harmony");
  AnswerFormat format;
  for (const FormatRow& row : kFormats) {
    if (!Contains(chat_template, row.sign) || !Contains(chat_template, row.other_sign)) continue;
    format.calls = row.kind;
    break;
  }
  if (format.calls == CallSyntaxKind::kHarmony) return format;
  for (const auto& [open, close] : kThoughtMarks) {
    const bool in_template = Contains(chat_template, open) || Contains(chat_template, close);
    const bool in_vocabulary = tokenizer.Find(open) >= 0 && tokenizer.Find(close) >= 0;
    if (!in_template && !in_vocabulary) continue;
    format.thought_open = open;
    format.thought_close = close;
    break;
  }
  // MiniMax writes the results of tools between such marks.
  const bool says = (Contains(chat_template, kSaidOpen) && Contains(chat_template, kSaidClose)) ||
                    (tokenizer.Find(kSaidOpen) >= 0 && tokenizer.Find(kSaidClose) >= 0);
  if (says && !format.thought_open.empty() && format.calls != CallSyntaxKind::kMiniMax) {
    format.said_open = kSaidOpen;
    format.said_close = kSaidClose;
  }
  format.verbatim_values =
      format.calls == CallSyntaxKind::kSeedXml || Contains(chat_template, "=example_parameter_1>value_1");
  format.fenced_arguments = Contains(chat_template, "```json");
  format.named_arguments = Contains(chat_template, "[ARGS]");
  return format;
}

AnswerFormat AnswerFormatNamed(std::string_view name) {
  for (const FormatRow& row : kFormats) {
    if (row.name != name) continue;
    AnswerFormat format;
    format.calls = row.kind;
    format.thought_open = row.thought_open;
    format.thought_close = row.thought_close;
    format.verbatim_values = row.kind == CallSyntaxKind::kSeedXml;
    return format;
  }
  std::string names;
  for (const std::string_view known : AnswerFormatNames())
    names += fmt::format("{}{}", names.empty() ? "" : ", ", known);
  Fail(ErrorCode::kUsage, "there is no answer format {}; there are {}", Printable(name), names);
}

std::string_view AnswerFormatName(CallSyntaxKind kind) {
  for (const FormatRow& row : kFormats)
    if (row.kind == kind) return row.name;
  Fail(ErrorCode::kInternal, "an answer format without a name");
}

std::vector<std::string_view> AnswerFormatNames() {
  std::vector<std::string_view> names;
  for (const FormatRow& row : kFormats)
    if (std::find(names.begin(), names.end(), row.name) == names.end()) names.push_back(row.name);
  return names;
}

bool EndsInThought(const AnswerFormat& format, const Tokenizer& tokenizer, std::span<const int32_t> prompt) {
  if (format.thought_open.empty()) return false;
  // The mark is a token, or some, and white space may follow.
  constexpr size_t kTail = 32;
  const std::string tail =
      tokenizer.Decode(prompt.last(std::min(kTail, prompt.size())), /*skip_special=*/false);
  const size_t end = tail.find_last_not_of(" \n\t\r");
  return end != std::string::npos && std::string_view(tail).substr(0, end + 1).ends_with(format.thought_open);
}

}  // namespace onecopy::text
