#include "runtime/cli/tokenizer_source.h"

#include "runtime/base/error.h"
#include "runtime/text/vocabulary_files.h"

namespace onecopy::cli {
namespace {

text::Tokenizer Make(const Checkpoint& checkpoint) {
  if (checkpoint.format == CheckpointFormat::kGguf) return text::Tokenizer::FromGguf(checkpoint.metadata);
  if (!checkpoint.vocabulary_file.empty()) {
    nlohmann::json metadata =
        checkpoint.vocabulary_file == "tiktoken.model"
            ? text::MetadataOfTiktoken(checkpoint.vocabulary, checkpoint.tokenizer_config)
            : text::MetadataOfSentencePiece(checkpoint.vocabulary);
    text::AddConfigs(checkpoint.tokenizer_config, checkpoint.generation_config, &metadata);
    return text::Tokenizer::FromGguf(metadata);
  }
  if (checkpoint.tokenizer.is_null()) {
    Fail(ErrorCode::kBadInput,
         "there is no tokenizer.json, tokenizer.model or tiktoken.model; give token ids instead of text, or "
         "add one of "
         "those files");
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
