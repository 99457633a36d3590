// POST /tokenize and /detokenize, as vLLM's server has them; "content" is what llama.cpp calls the text.
#include "runtime/serve/api.h"
#include "runtime/text/chat_template.h"

namespace onecopy::serve {

void Tokenize(const ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  const Json body = ParseObject(exchange->request().body);
  const Params params(body);
  const bool special = params.Bool("add_special_tokens", params.Bool("add_special", true));
  const std::string text = params.String("prompt", params.String("content", ""));
  const std::vector<int32_t> tokens = context.tokenizer.Encode(
      text, {.add_special = special, .parse_special = params.Bool("parse_special", true)});
  RespondJson(*exchange,
              {{"tokens", tokens}, {"count", tokens.size()}, {"max_model_len", context.service.capacity()}});
}

void Detokenize(const ApiContext& context, const std::shared_ptr<Exchange>& exchange) {
  const Json body = ParseObject(exchange->request().body);
  const Json* ids = Params(body).Find("tokens");
  if (ids == nullptr || !ids->is_array())
    throw ApiError(400, "tokens: expected an array of token ids", "tokens");
  std::vector<int32_t> tokens;
  for (const Json& id : *ids) {
    if (!id.is_number_integer() || id < 0 || id >= context.spec.vocab_size())
      throw ApiError(400,
                     fmt::format("tokens: expected token ids from 0 to {}", context.spec.vocab_size() - 1),
                     "tokens");
    tokens.push_back(id.get<int32_t>());
  }
  const std::string text = context.tokenizer.Decode(tokens, false);
  RespondJson(*exchange, {{"prompt", text}, {"content", text}});
}

}  // namespace onecopy::serve
