#include "runtime/text/answer/parameters_grammar.h"

#include <algorithm>
#include <string_view>

#include "runtime/base/error.h"

namespace onecopy::text {
namespace {

struct TagRow {
  CallSyntaxKind kind;
  std::string_view after_name, open, after_key, close, end;
  bool lines;  // line breaks around values, unless a template says otherwise
};

constexpr TagRow kTags[] = {
    {CallSyntaxKind::kQwenXml, ">\n", "<parameter=", ">", "</parameter>", "</function>", true},
    {CallSyntaxKind::kSeedXml, ">\n", "<parameter=", ">", "</parameter>", "</function>", true},
    {CallSyntaxKind::kMiniMax, "\">\n", "<parameter name=\"", "\">", "</parameter>", "</invoke>", false},
    {CallSyntaxKind::kDsml, "\">\n", "<｜DSML｜parameter name=\"", "", "</｜DSML｜parameter>",
     "</｜DSML｜invoke>", false},
    {CallSyntaxKind::kGlm, "\n", "<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>", "</tool_call>",
     false},
};

const TagRow* FindTags(CallSyntaxKind kind) {
  for (const TagRow& row : kTags)
    if (row.kind == kind) return &row;
  return nullptr;
}

std::string Literal(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out + '"';
}

// The characters of a mark, each one whole.
std::vector<std::string> Characters(std::string_view text) {
  std::vector<std::string> out;
  for (const char c : text) {
    if ((c & 0xC0) != 0x80) out.emplace_back();
    out.back() += c;
  }
  return out;
}

// Any text without `mark`, of which only the first character is '<'. A beginning of the mark is followed by something else than
// its next character; after a beginning of two or more it must not be followed by '<' either, which no text of use has.
std::string TextWithout(std::string_view mark) {
  const std::vector<std::string> characters = Characters(mark);
  std::string rest = "[^<" + characters.back() + "]";
  for (size_t i = characters.size() - 2; i > 1; --i)
    rest = "( [^<" + characters[i] + "] | " + Literal(characters[i]) + " " + rest + " )";
  return "( [^<] | \"<\"+ ( [^<" + characters[1] + "] | " + Literal(characters[1]) + " " + rest + " ) )*";
}

std::string ValueRule(const ToolParameter& parameter) {
  if (!parameter.values.empty()) {
    std::string any;
    for (const std::string& value : parameter.values) any += (any.empty() ? "" : " | ") + Literal(value);
    return "( " + any + " )";
  }
  if (parameter.types == 0 || (parameter.types & kStringType)) return "text";
  std::string any;
  const auto add = [&](unsigned type, const char* rule) {
    if (parameter.types & type) any += std::string(any.empty() ? "" : " | ") + rule;
  };
  add(kNullType, "\"null\"");
  add(kBoolType, "\"true\" | \"false\"");
  add(kNumberType, "number");
  add(kIntegerType, "integer");
  add(kArrayType, "array");
  add(kObjectType, "object");
  return "( " + any + " )";
}

// Any JSON, but for strings with '<', since marks end values, and numbers that no computer's have the size of.
constexpr std::string_view kJsonRules = R"gbnf(integer ::= "-"? ( "0" | [1-9] [0-9]{0,15} )
number ::= integer ( "." [0-9]{1,16} )? ( [eE] [-+]? [0-9]{1,2} )?
string ::= "\"" ( [^"\\<\x00-\x1F] | "\\" ( ["\\/bfnrt] | "u" [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F] [0-9a-fA-F] ) )* "\""
value ::= "null" | "true" | "false" | number | string | array | object
array ::= "[" ( value ( "," " "? value )* )? "]"
object ::= "{" ( string ":" " "? value ( "," " "? string ":" " "? value )* )? "}"
)gbnf";

bool FitsInTag(std::string_view name) {
  return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) {
    return static_cast<unsigned char>(c) > ' ' && std::string_view("<>\"").find(c) == std::string_view::npos;
  });
}

}  // namespace

bool HasParameterTags(CallSyntaxKind kind) {
  return FindTags(kind) != nullptr;
}

std::string ParametersGrammar(const AnswerFormat& format, const ToolSet& tools,
                              const std::vector<std::string>& functions) {
  const TagRow* tags = FindTags(format.calls);
  if (!tags) Fail(ErrorCode::kInternal, "a grammar of parameters for calls that have none");
  const std::string line = tags->lines && !format.verbatim_values ? "\n" : "";
  std::string root = "root ::= ", rules;
  for (size_t i = 0; i < functions.size(); ++i) {
    const std::string rule = "call-" + std::to_string(i);
    root += (i > 0 ? " | " : "") + rule;
    rules += rule + " ::= ";
    if (functions.size() > 1) rules += Literal(functions[i] + std::string(tags->after_name)) + " ";
    for (const ToolParameter& parameter : tools.Parameters(functions[i])) {
      if (!FitsInTag(parameter.name)) return "";
      std::string after_key(tags->after_key);
      const bool text = !parameter.values.empty() || parameter.types == 0 || (parameter.types & kStringType);
      if (format.calls == CallSyntaxKind::kDsml)
        after_key = text ? "\" string=\"true\">" : "\" string=\"false\">";
      rules += "( " + Literal(std::string(tags->open) + parameter.name + after_key + line) + " " +
               ValueRule(parameter) + " " + Literal(line + std::string(tags->close) + "\n") + " )" +
               (parameter.required ? " " : "? ");
    }
    rules += Literal(tags->end) + "\n";
  }
  return root + "\n" + rules + "text ::= " + TextWithout(tags->close) + "\n" + std::string(kJsonRules);
}

}  // namespace onecopy::text
