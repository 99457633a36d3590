#include "runtime/text/answer/forced_call.h"

#include "runtime/base/error.h"
#include "runtime/base/printable.h"

namespace onecopy::text {
namespace {

struct ForcedRow {
  CallSyntaxKind kind;
  std::string_view before_name, after_name, end;
  bool json;
};

constexpr ForcedRow kForced[] = {
    {CallSyntaxKind::kHermes, "<tool_call>\n{\"name\": \"", "\", \"arguments\": ", "}\n</tool_call>", true},
    {CallSyntaxKind::kGranite, "<|tool_call|>[{\"name\": \"", "\", \"arguments\": ", "}]", true},
    {CallSyntaxKind::kMistral, "[TOOL_CALLS][{\"name\": \"", "\", \"arguments\": ", "}]", true},
    {CallSyntaxKind::kLlama, "{\"name\": \"", "\", \"parameters\": ", "}", true},
    {CallSyntaxKind::kDeepSeek, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", "<｜tool▁sep｜>",
     "<｜tool▁call▁end｜><｜tool▁calls▁end｜>", true},
    {CallSyntaxKind::kKimi, "<|tool_calls_section_begin|><|tool_call_begin|>functions.",
     ":0<|tool_call_argument_begin|>", "<|tool_call_end|><|tool_calls_section_end|>", true},
    {CallSyntaxKind::kHarmony, "<|channel|>commentary to=functions.", " <|constrain|>json<|message|>",
     "<|call|>", true},
    {CallSyntaxKind::kQwenXml, "<tool_call>\n<function=", ">\n", "</function>\n</tool_call>", false},
    {CallSyntaxKind::kSeedXml, "<seed:tool_call>\n<function=", ">\n", "</function>\n</seed:tool_call>",
     false},
    {CallSyntaxKind::kMiniMax, "<minimax:tool_call>\n<invoke name=\"", "\">\n",
     "</invoke>\n</minimax:tool_call>", false},
    {CallSyntaxKind::kDsml, "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"", "\">\n",
     "</｜DSML｜invoke>\n</｜DSML｜function_calls>", false},
    // The line break ends the name, also where a template writes none.
    {CallSyntaxKind::kGlm, "<tool_call>", "\n", "</tool_call>", false},
};
constexpr ForcedRow kFencedDeepSeek = {CallSyntaxKind::kDeepSeek,
                                       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>",
                                       "\n```json\n", "\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>", true};
constexpr ForcedRow kNamedMistral = {CallSyntaxKind::kMistral, "[TOOL_CALLS]", "[ARGS]", "", true};

const ForcedRow* FindForced(const AnswerFormat& format) {
  if (format.calls == CallSyntaxKind::kDeepSeek && format.fenced_arguments) return &kFencedDeepSeek;
  if (format.calls == CallSyntaxKind::kMistral && format.named_arguments) return &kNamedMistral;
  for (const ForcedRow& row : kForced)
    if (row.kind == format.calls) return &row;
  return nullptr;
}

}  // namespace

std::optional<ForcedCall> ForceCall(const AnswerFormat& format, const ToolSet& tools,
                                    std::string_view function, bool in_thought) {
  if (tools.empty()) Fail(ErrorCode::kUsage, "tool_choice asks for a call, but there are no tools");
  if (!function.empty() && !tools.Has(function))
    Fail(ErrorCode::kUsage, "tool_choice names the function {}, which is not among the tools",
         Printable(function));
  const ForcedRow* row = FindForced(format);
  if (!row) return std::nullopt;
  ForcedCall forced;
  if (in_thought) forced.prefix = format.thought_close + "\n\n";
  forced.prefix += row->before_name;
  forced.json_arguments = row->json;
  forced.end = row->end;
  const std::vector<std::string> names =
      function.empty() ? tools.Names() : std::vector<std::string>{std::string(function)};
  if (names.size() == 1) {
    forced.prefix += names[0] + std::string(row->after_name);
    return forced;
  }
  for (const std::string& name : names) forced.choices.push_back({name, name + std::string(row->after_name)});
  return forced;
}

}  // namespace onecopy::text
