// tokenizer.json, tokenizer_config.json and a text.
#include "runtime/model/json_file.h"
#include "tests/fuzz/model_rules.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onecopy;        // NOLINT
  using namespace onecopy::fuzz;  // NOLINT
  const std::vector<std::string_view> parts = Parts(View(data, size), 3);
  const Budget budget(4, (16 << 20) + 1000 * size);
  nlohmann::json tokenizer, config;
  if (!Takes([&] { tokenizer = ParseJson(std::string(parts[0]), "tokenizer.json"); }, "tokenizer.json"))
    return 0;
  if (!parts[1].empty() && !Takes([&] { config = ParseJson(std::string(parts[1]), "tokenizer_config.json"); },
                                  "tokenizer_config.json"))
    return 0;
  // Files that are no objects are refused where they are read.
  if (!tokenizer.is_object() || (!config.is_null() && !config.is_object())) return 0;
  CheckTokenizer([&] { return text::Tokenizer::FromHuggingFace(tokenizer, config, nullptr, nullptr); },
                 parts[2]);
  return 0;
}
