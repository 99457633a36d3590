// ParametersGrammar: GBNF of a call whose parameters stand between tags: which function, which parameters, and values of their
// types. A pure function. Source: llama.cpp, grammars/README.md (the notation).
#pragma once

#include <string>
#include <vector>

#include "runtime/text/answer/answer_format.h"
#include "runtime/text/answer/tool_set.h"

namespace onecopy::text {

bool HasParameterTags(CallSyntaxKind kind);

// What follows ForcedCall::prefix: with several functions, the rest of the name of one of them first; then its parameters in the
// order of the schema, those that are required at least, and the mark that ends the call. Values that may be strings are any text
// without the mark that ends them; arrays and objects are any JSON. Empty where a name has characters that tags cannot have: then
// nothing can be said. Errors: kInternal for a format without such tags.
std::string ParametersGrammar(const AnswerFormat& format, const ToolSet& tools,
                              const std::vector<std::string>& functions);

}  // namespace onecopy::text
