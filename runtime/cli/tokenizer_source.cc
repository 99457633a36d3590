#include "runtime/cli/tokenizer_source.h"

#include "runtime/base/error.h"

namespace onecopy::cli {
namespace {

text::Tokenizer Make(const Checkpoint& checkpoint) {
  if (checkpoint.format == CheckpointFormat::kGguf) return text::Tokenizer::FromGguf(checkpoint.metadata);
  if (checkpoint.tokenizer.is_null()) {
    Fail(ErrorCode::kBadInput,
         "there is no tokenizer.json; give token ids instead of text, or add that file");
  }
  return text::Tokenizer::FromHuggingFace(checkpoint.tokenizer, checkpoint.tokenizer_config,
                                          checkpoint.generation_config, checkpoint.metadata);
}

}  // namespace

text::Tokenizer MakeTokenizer(const Checkpoint& checkpoint) {
  try {
    return Make(checkpoint);
  } catch (const Error& error) {
    Fail(error.code(), "{}: {}", checkpoint.path, error.what());
  }
}

}  // namespace onecopy::cli
