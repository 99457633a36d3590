// What an answer has to look like: from a request to a grammar, and from that to the tokens that may come.
#pragma once

#include "runtime/grammar/matcher.h"
#include "runtime/serve/api.h"

namespace onecopy::serve {

// "response_format" of chat completions, also "text.format" of Responses: {"type": "text"}, {"type": "json_object"}, or
// {"type": "json_schema"} with the schema beside it or in "json_schema". Errors: ApiError.
void SetResponseFormat(const ApiContext& context, const Json& format, Generation* generation);
// "response_format" and "grammar" of a request, of which one may be there. Errors: ApiError.
void SetStructure(const ApiContext& context, const Params& params, Generation* generation);
// Errors: ApiError, which names the field.
std::shared_ptr<const grammar::Grammar> GrammarOfSchema(const ApiContext& context, const Json& schema,
                                                        const char* field);
std::shared_ptr<const grammar::Grammar> GrammarOfGbnf(const ApiContext& context, const std::string& gbnf,
                                                      const char* field);

// Keeps a sequence to a grammar, from the place where the answer proper begins.
class GrammarFilter : public TokenFilter {
 public:
  // begins_after: what the text has before it, a mark that ends a thought; empty: the grammar begins at once.
  GrammarFilter(std::shared_ptr<const grammar::Grammar> grammar,
                std::shared_ptr<const grammar::TokenTable> tokens, const text::Tokenizer& tokenizer,
                std::string begins_after);

  std::span<const uint64_t> Allowed() override;
  void Accept(int32_t token) override;
  bool complete() const override { return begun_ && matcher_.can_end(); }

 private:
  grammar::Matcher matcher_;
  const text::Tokenizer& tokenizer_;
  const std::string begins_after_;
  bool begun_;
  std::string before_;  // the end of the text before the grammar
};

// The text after which an answer of this format is what the user sees. in_thought: the prompt ends inside of a thought.
std::string MarkBeforeAnswer(const text::AnswerFormat& format, bool in_thought);

}  // namespace onecopy::serve
