#include "runtime/model/text_config.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "runtime/base/error.h"

namespace onecopy {
namespace {

struct Wrapper {
  const char* model_type;           // of config.json
  const char* text_model_type;      // where text_config does not say
  const char* prefix;               // of the text model's tensors
  const char* in_its_place;         // what a directory of the text model has there
  std::vector<const char*> others;  // prefixes of those that are left out
};

const std::vector<Wrapper>& Wrappers() {
  static const std::vector<Wrapper> wrappers = {
      {"llama4", "llama4_text", "language_model.", "", {"vision_model.", "multi_modal_projector."}},
      {"qwen3_5", "qwen3_5_text", "model.language_model.", "model.", {"model.visual."}},
      {"qwen3_5_moe", "qwen3_5_moe_text", "model.language_model.", "model.", {"model.visual."}},
  };
  return wrappers;
}

bool StartsWith(std::string_view text, std::string_view prefix) {
  return text.substr(0, prefix.size()) == prefix;
}

}  // namespace

void TakeTextModel(Checkpoint* checkpoint) {
  const auto type = checkpoint->metadata.find("model_type");
  if (type == checkpoint->metadata.end()) return;
  const auto& all = Wrappers();
  const auto wrapper =
      std::find_if(all.begin(), all.end(), [&](const Wrapper& w) { return *type == w.model_type; });
  const auto text = checkpoint->metadata.find("text_config");
  if (wrapper == all.end() || text == checkpoint->metadata.end()) return;
  if (!text->is_object())
    Fail(ErrorCode::kBadInput, "{}/config.json: text_config: expected an object, found a {}",
         checkpoint->path, text->type_name());

  nlohmann::json metadata = std::move(*text);
  if (!metadata.contains("model_type")) metadata["model_type"] = wrapper->text_model_type;
  for (const char* key :
       {"quantization_config", "bos_token_id", "eos_token_id", "pad_token_id", "tie_word_embeddings"})
    if (!metadata.contains(key) && checkpoint->metadata.contains(key))
      metadata[key] = checkpoint->metadata[key];
  checkpoint->metadata = std::move(metadata);

  std::vector<TensorInfo> tensors;
  for (TensorInfo& tensor : checkpoint->tensors) {
    if (std::any_of(wrapper->others.begin(), wrapper->others.end(),
                    [&](const char* prefix) { return StartsWith(tensor.name, prefix); }))
      continue;
    if (StartsWith(tensor.name, wrapper->prefix))
      tensor.name.replace(0, std::string_view(wrapper->prefix).size(), wrapper->in_its_place);
    tensors.push_back(std::move(tensor));
  }
  checkpoint->tensors = std::move(tensors);
  checkpoint->index.clear();
  for (size_t i = 0; i < checkpoint->tensors.size(); ++i)
    checkpoint->index.emplace(checkpoint->tensors[i].name, i);
}

}  // namespace onecopy
