// Vocabularies of other kinds: tokenizer.model of sentencepiece, and tiktoken.model with its tokenizer_config.json. The first
// byte says which.
#include "runtime/model/json_file.h"
#include "runtime/text/vocabulary_files.h"
#include "tests/fuzz/model_rules.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onecopy;        // NOLINT
  using namespace onecopy::fuzz;  // NOLINT
  std::string_view input = View(data, size);
  const bool tiktoken = TakeNumber<uint8_t>(&input) % 2 == 1;
  const Budget budget(4, (16 << 20) + 2000 * size);
  nlohmann::json config, metadata;
  if (tiktoken) {
    const std::vector<std::string_view> parts = Parts(input, 2);
    if (!Takes([&] { config = ParseJson(std::string(parts[1]), "tokenizer_config.json"); }) ||
        !config.is_object())
      return 0;
    if (!Takes([&] { metadata = text::MetadataOfTiktoken(parts[0], config); })) return 0;
  } else if (!Takes([&] { metadata = text::MetadataOfSentencePiece(input); })) {
    return 0;
  }
  if (!Takes([&] { text::AddConfigs(config, nullptr, &metadata); })) return 0;
  CheckTokenizer([&] { return text::Tokenizer::FromGguf(metadata); });
  return 0;
}
