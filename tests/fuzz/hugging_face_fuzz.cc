// A Hugging Face directory: config.json, the headers of two safetensors files, their index, and what else is read of it.
#include "runtime/model/describe.h"
#include "runtime/model/hugging_face.h"
#include "runtime/text/vocabulary_files.h"
#include "tests/fuzz/model_rules.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onecopy;        // NOLINT
  using namespace onecopy::fuzz;  // NOLINT
  static const std::vector<std::string> names = {"config.json",
                                                 "model.safetensors",
                                                 "model.safetensors.index.json",
                                                 "model-00001-of-00002.safetensors",
                                                 "tokenizer_config.json",
                                                 "generation_config.json",
                                                 "chat_template.json",
                                                 "tokenizer.json"};
  static MemoryDirectory directory(names);
  const std::vector<std::string_view> parts = Parts(View(data, size), names.size());
  for (size_t i = 0; i < names.size(); ++i) {
    std::string content(parts[i]);
    // The input has a header's JSON; the length before it would only be in the way. Data is absent.
    if (names[i].ends_with(".safetensors") && !content.empty()) {
      const uint64_t length = content.size();
      content.insert(0, reinterpret_cast<const char*>(&length), sizeof length);
    }
    directory.Write(i, content);
  }
  const Budget budget(4, (16 << 20) + 1000 * size);
  Checkpoint checkpoint;
  if (!Takes([&] { checkpoint = OpenHuggingFace(directory.path(), Data::kMayBeAbsent); }, directory.path()))
    return 0;
  CheckTensors(checkpoint);
  DescribeAsText(checkpoint);
  DescribeAsJson(checkpoint).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  CheckModel(checkpoint);
  if (!checkpoint.tokenizer.is_null())
    CheckTokenizer([&] {
      return text::Tokenizer::FromHuggingFace(checkpoint.tokenizer, checkpoint.tokenizer_config,
                                              checkpoint.generation_config, checkpoint.metadata);
    });
  return 0;
}
