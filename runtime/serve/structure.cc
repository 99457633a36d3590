#include "runtime/serve/structure.h"

#include "runtime/base/error.h"

namespace onecopy::serve {

std::shared_ptr<const grammar::Grammar> GrammarOfSchema(const ApiContext& context, const Json& schema,
                                                        const char* field) {
  try {
    return context.grammars.OfJsonSchema(schema);
  } catch (const Error& error) {
    throw ApiError(400, fmt::format("{}: {}", field, error.what()), field);
  }
}

std::shared_ptr<const grammar::Grammar> GrammarOfGbnf(const ApiContext& context, const std::string& gbnf,
                                                      const char* field) {
  try {
    return context.grammars.OfGbnf(gbnf);
  } catch (const Error& error) {
    throw ApiError(400, fmt::format("{}: {}", field, error.what()), field);
  }
}

void SetResponseFormat(const ApiContext& context, const Json& format, Generation* generation) {
  constexpr const char* kField = "response_format";
  if (!format.is_object()) throw ApiError(400, "response_format: expected an object", kField);
  const Params fields(format);
  const std::string type = fields.String("type", "");
  if (type == "text") return;
  const Json* inner = fields.Find("json_schema");
  const Json& holder = inner == nullptr ? format : *inner;
  const Json* schema = holder.is_object() ? Params(holder).Find("schema") : nullptr;
  if (type == "json_object" && schema == nullptr) {
    generation->grammar = grammar::Grammar::JsonObject();
  } else if (type == "json_object" || type == "json_schema") {
    if (schema == nullptr) throw ApiError(400, "response_format: of type json_schema needs a schema", kField);
    generation->grammar = GrammarOfSchema(context, *schema, kField);
  } else {
    throw ApiError(400, "response_format: expected the type text, json_object or json_schema", kField);
  }
}

void SetStructure(const ApiContext& context, const Params& params, Generation* generation) {
  const Json* format = params.Find("response_format");
  if (format != nullptr) SetResponseFormat(context, *format, generation);
  const std::string gbnf = params.String("grammar", "");
  if (gbnf.empty()) return;
  if (generation->grammar != nullptr)
    throw ApiError(400, "grammar: excludes a response_format of JSON", "grammar");
  generation->grammar = GrammarOfGbnf(context, gbnf, "grammar");
}

GrammarFilter::GrammarFilter(std::shared_ptr<const grammar::Grammar> grammar,
                             std::shared_ptr<const grammar::TokenTable> tokens,
                             const text::Tokenizer& tokenizer, std::string begins_after)
    : matcher_(std::move(grammar), std::move(tokens)),
      tokenizer_(tokenizer),
      begins_after_(std::move(begins_after)),
      begun_(begins_after_.empty()) {}

std::span<const uint64_t> GrammarFilter::Allowed() {
  if (!begun_) return {};
  return matcher_.Mask();
}

void GrammarFilter::Accept(int32_t token) {
  if (begun_) {
    matcher_.Accept(token);
    return;
  }
  before_ += tokenizer_.Piece(token);
  const size_t found = before_.find(begins_after_);
  if (found == std::string::npos) {
    if (before_.size() > begins_after_.size()) before_.erase(0, before_.size() - begins_after_.size());
    return;
  }
  begun_ = true;
  std::string rest = before_.substr(found + begins_after_.size());
  rest.erase(0, rest.find_first_not_of(" \n\r\t"));
  if (!rest.empty()) matcher_.AcceptText(rest);
}

std::string MarkBeforeAnswer(const text::AnswerFormat& format, bool in_thought) {
  if (format.calls == text::CallSyntaxKind::kHarmony) return "<|channel|>final<|message|>";
  return in_thought ? format.thought_close + format.said_open : format.said_open;
}

}  // namespace onecopy::serve
