// AnswerFormat: how a model's answers are written: what marks its thoughts, and how it calls tools. Plain data. Source: the
// models' published chat templates and the formats their vendors document (README.md of this folder names them).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/tokenizer.h"

namespace onecopy::text {

// The syntax of tool calls. kHarmony also has channels, in place of marks around thoughts.
enum class CallSyntaxKind {
  kNone,
  kHermes,   // <tool_call>{"name": "f", "arguments": {…}}</tool_call>: Qwen 2.5 and 3, Granite 4, ERNIE 4.5
  kQwenXml,  // <tool_call><function=f><parameter=x>…: Qwen3-Coder, Qwen3.5, MiMo, Step 3.5
  kSeedXml,  // the same between <seed:tool_call> marks: Seed-OSS
  kDeepSeek,  // <｜tool▁calls▁begin｜>…: DeepSeek V3, R1 and V3.1
  kDsml,      // <｜DSML｜invoke name="f">…: DeepSeek V3.2
  kKimi,      // <|tool_calls_section_begin|>…functions.f:0…: Kimi-K2
  kGlm,       // <tool_call>f<arg_key>x</arg_key><arg_value>…: GLM-4.5 to 4.7
  kMiniMax,   // <minimax:tool_call><invoke name="f"><parameter name="x">…: MiniMax-M2
  kMistral,   // [TOOL_CALLS][{"name": "f", "arguments": {…}}], or [TOOL_CALLS]f[ARGS]{…}
  kGranite,   // <|tool_call|>[{"name": "f", "arguments": {…}}]: Granite 3
  kLlama,     // {"name": "f", "parameters": {…}} without marks, or [f(x=1)]: Llama 3.1 to 4
  kHarmony,   // <|channel|>commentary to=functions.f <|message|>{…}<|call|>: gpt-oss
};

struct AnswerFormat {
  CallSyntaxKind calls = CallSyntaxKind::kNone;
  // Around thoughts; empty: the model has none.
  std::string thought_open, thought_close;
  // Around what is said after a thought; not part of it. Empty: none.
  std::string said_open, said_close;
  // Parameters between XML tags stand as they are, without a line break before and after.
  bool verbatim_values = false;
  // kDeepSeek: arguments are a fenced block (V3, R1). kMistral: the name stands before [ARGS], not in a list. Both ways are read
  // in any case; this is which the model was trained on.
  bool fenced_arguments = false, named_arguments = false;
};

// The format that a chat template and a vocabulary show. chat_template: empty where the model has none.
AnswerFormat ChooseAnswerFormat(std::string_view chat_template, const Tokenizer& tokenizer);

// By name, for models whose template does not show it: "plain", "hermes", … Errors: kUsage, which lists the names.
AnswerFormat AnswerFormatNamed(std::string_view name);
std::string_view AnswerFormatName(CallSyntaxKind kind);
std::vector<std::string_view> AnswerFormatNames();

// Whether the prompt opens a thought, as many templates do for the model, so that the answer begins inside of it.
bool EndsInThought(const AnswerFormat& format, const Tokenizer& tokenizer, std::span<const int32_t> prompt);

}  // namespace onecopy::text
