#include "runtime/text/answer/call_syntax.h"

namespace onecopy::text {

const CallSyntax* FindCallSyntax(CallSyntaxKind kind) {
  for (const CallSyntax* syntax :
       {&kHermesCalls, &kGraniteCalls, &kMistralCalls, &kLlamaCalls, &kDeepSeekCalls, &kKimiCalls,
        &kQwenXmlCalls, &kSeedXmlCalls, &kDsmlCalls, &kMiniMaxCalls, &kGlmCalls})
    if (syntax->kind == kind) return syntax;
  return nullptr;
}

std::string_view SkipSpace(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \n\t\r");
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin);
}

Match TakePart(std::string_view* text, std::string_view part) {
  if (text->starts_with(part)) {
    text->remove_prefix(part.size());
    return Match::kYes;
  }
  return part.starts_with(*text) ? Match::kMore : Match::kNo;
}

}  // namespace onecopy::text
