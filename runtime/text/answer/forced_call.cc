#include "runtime/text/answer/forced_call.h"

#include "runtime/base/error.h"
#include "runtime/base/printable.h"
#include "runtime/text/answer/parameters_grammar.h"

namespace onecopy::text {
namespace {

using nlohmann::ordered_json;

struct ForcedRow {
  CallSyntaxKind kind;
  std::string_view open;  // before the name, or before the object that has it
  std::string_view after_name;
  // Of calls that are objects: the key of the arguments.
  std::string_view arguments_key = {};
};

constexpr ForcedRow kForced[] = {
    {CallSyntaxKind::kHermes, "<tool_call>\n", "", "arguments"},
    {CallSyntaxKind::kGranite, "<|tool_call|>[", "", "arguments"},
    {CallSyntaxKind::kMistral, "[TOOL_CALLS][", "", "arguments"},
    {CallSyntaxKind::kLlama, "", "", "parameters"},
    {CallSyntaxKind::kDeepSeek, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>", "<｜tool▁sep｜>"},
    {CallSyntaxKind::kKimi, "<|tool_calls_section_begin|><|tool_call_begin|>functions.",
     ":0<|tool_call_argument_begin|>"},
    {CallSyntaxKind::kHarmony, "<|channel|>commentary to=functions.", " <|constrain|>json<|message|>"},
    {CallSyntaxKind::kQwenXml, "<tool_call>\n<function=", ">\n"},
    {CallSyntaxKind::kSeedXml, "<seed:tool_call>\n<function=", ">\n"},
    {CallSyntaxKind::kMiniMax, "<minimax:tool_call>\n<invoke name=\"", "\">\n"},
    {CallSyntaxKind::kDsml, "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"", "\">\n"},
    // The line break ends the name, also where a template writes none.
    {CallSyntaxKind::kGlm, "<tool_call>", "\n"},
};
constexpr ForcedRow kFencedDeepSeek = {CallSyntaxKind::kDeepSeek,
                                       "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>",
                                       "\n```json\n"};
constexpr ForcedRow kNamedMistral = {CallSyntaxKind::kMistral, "[TOOL_CALLS]", "[ARGS]"};

const ForcedRow* FindForced(const AnswerFormat& format) {
  if (format.calls == CallSyntaxKind::kDeepSeek && format.fenced_arguments) return &kFencedDeepSeek;
  if (format.calls == CallSyntaxKind::kMistral && format.named_arguments) return &kNamedMistral;
  for (const ForcedRow& row : kForced)
    if (row.kind == format.calls) return &row;
  return nullptr;
}

// A schema that stands inside of another one: its references to itself begin at `where`.
ordered_json Moved(const ordered_json& schema, const std::string& where) {
  if (schema.is_array()) {
    ordered_json moved = ordered_json::array();
    for (const ordered_json& one : schema) moved.push_back(Moved(one, where));
    return moved;
  }
  if (!schema.is_object()) return schema;
  ordered_json moved = ordered_json::object();
  for (const auto& [key, value] : schema.items()) {
    const bool reference = key == "$ref" && value.is_string() && value.get<std::string>().starts_with('#');
    const bool data = key == "enum" || key == "const" || key == "default" || key == "examples";
    moved[key] = reference ? ordered_json(where + value.get<std::string>().substr(1))
                 : data    ? value
                           : Moved(value, where);
  }
  return moved;
}

// {"name": "f", "arguments": {…}} for each of the functions.
ordered_json CallsSchema(const ToolSet& tools, const std::vector<std::string>& functions,
                         std::string_view key) {
  ordered_json any = ordered_json::array();
  for (const std::string& function : functions) {
    const std::string where = "#/anyOf/" + std::to_string(any.size()) + "/properties/" + std::string(key);
    ordered_json properties = {{"name", {{"const", function}}}};
    properties[std::string(key)] = Moved(tools.Schema(function), where);
    any.push_back({{"type", "object"},
                   {"properties", properties},
                   {"required", {"name", key}},
                   {"additionalProperties", false}});
  }
  return {{"anyOf", any}};
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
  forced.prefix += row->open;
  const std::vector<std::string> functions =
      function.empty() ? tools.Names() : std::vector<std::string>{std::string(function)};
  const bool one = functions.size() == 1;
  if (!row->arguments_key.empty()) {
    if (one) {
      forced.prefix += fmt::format("{{\"name\": \"{}\", \"{}\": ", functions[0], row->arguments_key);
      forced.schema = tools.Schema(functions[0]);
    } else {
      forced.schema = CallsSchema(tools, functions, row->arguments_key);
    }
    return forced;
  }
  if (one) forced.prefix += functions[0] + std::string(row->after_name);
  if (HasParameterTags(format.calls)) {
    forced.grammar = ParametersGrammar(format, tools, functions);
  } else if (one) {
    forced.schema = tools.Schema(functions[0]);
  } else {
    forced.functions = functions;
  }
  return forced;
}

}  // namespace onecopy::text
