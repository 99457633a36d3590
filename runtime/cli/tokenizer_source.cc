#include "runtime/cli/tokenizer_source.h"

#include <filesystem>

#include "runtime/base/error.h"
#include "runtime/base/log.h"
#include "runtime/model/json_file.h"
#include "runtime/text/vocabulary_files.h"

namespace onecopy::cli {
namespace {

// Of tokenizer.model or tiktoken.model.
nlohmann::json KeysOfVocabulary(const Checkpoint& checkpoint, const std::string& file,
                                const std::string& content) {
  nlohmann::json metadata = file == "tiktoken.model"
                                ? text::MetadataOfTiktoken(content, checkpoint.tokenizer_config)
                                : text::MetadataOfSentencePiece(content);
  text::AddConfigs(checkpoint.tokenizer_config, checkpoint.generation_config, &metadata);
  return metadata;
}

text::Tokenizer Make(const Checkpoint& checkpoint) {
  if (checkpoint.format == CheckpointFormat::kGguf) return text::Tokenizer::FromGguf(checkpoint.metadata);
  if (!checkpoint.vocabulary_file.empty())
    return text::Tokenizer::FromGguf(
        KeysOfVocabulary(checkpoint, checkpoint.vocabulary_file, checkpoint.vocabulary));
  if (checkpoint.tokenizer.is_null()) {
    Fail(ErrorCode::kBadInput,
         "there is no tokenizer.json, tokenizer.model or tiktoken.model; give token ids instead of text, or "
         "add one of "
         "those files");
  }
  return text::Tokenizer::FromHuggingFace(checkpoint.tokenizer, checkpoint.tokenizer_config,
                                          checkpoint.generation_config, checkpoint.metadata);
}

// A tokenizer.json made from a sentencepiece model has bytes as tokens; GGUF wants the model, which is beside it.
nlohmann::json KeysOfDirectory(const Checkpoint& checkpoint, uint32_t vocab_size) {
  if (!checkpoint.vocabulary_file.empty())
    return KeysOfVocabulary(checkpoint, checkpoint.vocabulary_file, checkpoint.vocabulary);
  const nlohmann::json& model = checkpoint.tokenizer.at("model");
  const std::string beside = checkpoint.path + "/tokenizer.model";
  if (model.is_object() && model.value("byte_fallback", false) && std::filesystem::exists(beside))
    return KeysOfVocabulary(checkpoint, "tokenizer.model", ReadTextFile(beside, 64 << 20));
  return text::MetadataOfTokenizerJson(checkpoint.tokenizer, checkpoint.tokenizer_config,
                                       checkpoint.generation_config, checkpoint.metadata, vocab_size);
}

}  // namespace

nlohmann::json GgufTokenizerKeys(const Checkpoint& checkpoint, uint32_t vocab_size) {
  if (checkpoint.tokenizer.is_null() && checkpoint.vocabulary_file.empty()) {
    log::warn("{}: there is no tokenizer.json, tokenizer.model or tiktoken.model: the file gets no tokenizer",
              checkpoint.path);
    return {{"tokenizer.ggml.model", "none"}};
  }
  try {
    nlohmann::json metadata = KeysOfDirectory(checkpoint, vocab_size);
    text::AddUnusedTokens(vocab_size, &metadata);
    return metadata;
  } catch (const Error& error) {
    Fail(error.code(), "{}: {}", checkpoint.path, error.what());
  }
}

text::Tokenizer MakeTokenizer(const Checkpoint& checkpoint) {
  try {
    return Make(checkpoint);
  } catch (const Error& error) {
    Fail(error.code(), "{}: {}", checkpoint.path, error.what());
  }
}

}  // namespace onecopy::cli
