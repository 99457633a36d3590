#include "runtime/model/model_spec.h"

#include <filesystem>
#include <string_view>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"
#include "runtime/model/families/families.h"
#include "runtime/model/tensor_binder.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::Weight;

std::vector<const char*> Architectures(const Family& family, CheckpointFormat format) {
  return format == CheckpointFormat::kGguf ? family.gguf_architectures : family.hf_model_types;
}

const Family& FamilyOf(const Checkpoint& checkpoint) {
  const bool gguf = checkpoint.format == CheckpointFormat::kGguf;
  const std::string key = gguf ? "general.architecture" : "model_type";
  const std::string file = gguf ? checkpoint.path : checkpoint.path + "/config.json";
  const auto found = checkpoint.metadata.find(key);
  if (found == checkpoint.metadata.end()) Fail(ErrorCode::kBadInput, "{}: {}: is missing", file, key);
  if (!found->is_string()) {
    Fail(ErrorCode::kBadInput, "{}: {}: expected a string, found a {}", file, key, found->type_name());
  }
  std::vector<const char*> known;
  for (const Family& family : AllFamilies()) {
    for (const char* architecture : Architectures(family, checkpoint.format)) {
      if (*found == architecture && (family.answers == nullptr || family.answers(checkpoint))) return family;
      if (known.empty() || std::string_view(known.back()) != architecture) known.push_back(architecture);
    }
  }
  const auto& name = found->get_ref<const std::string&>();
  if (const char* missing = WhatFamilyNeeds(name))
    Fail(ErrorCode::kBadInput, "{}: {}: \"{}\" is not supported yet: it needs {}", file, key, Printable(name),
         missing);
  Fail(ErrorCode::kBadInput, "{}: {}: \"{}\" is not supported yet: expected one of {}", file, key,
       Printable(name), fmt::join(known, ", "));
}

std::string NameOf(const Checkpoint& checkpoint) {
  if (checkpoint.format == CheckpointFormat::kGguf) {
    const auto name = checkpoint.metadata.find("general.name");
    if (name != checkpoint.metadata.end() && name->is_string()) return Printable(name->get<std::string>());
    return std::filesystem::path(checkpoint.path).stem().string();
  }
  // "models/x/" has no file name of its own.
  const std::filesystem::path path = std::filesystem::path(checkpoint.path).lexically_normal();
  return path.has_filename() ? path.filename().string() : path.parent_path().filename().string();
}

// A tokenizer that gives ids beyond the embedding would read past its rows.
void CheckVocabulary(const Checkpoint& checkpoint, const ModelSpec& spec) {
  const auto tokens = checkpoint.metadata.find("tokenizer.ggml.tokens");
  if (checkpoint.format != CheckpointFormat::kGguf || tokens == checkpoint.metadata.end()) return;
  if (tokens->size() > spec.vocab_size()) {
    Fail(ErrorCode::kBadInput,
         "{}: tokenizer.ggml.tokens: expected at most {} tokens, as many as rows of the embedding, "
         "found {}",
         checkpoint.path, spec.vocab_size(), tokens->size());
  }
}

}  // namespace

const std::vector<Family>& AllFamilies() {
  // Llama before Mixtral, which has the rest of GGUF's architecture llama.
  static const std::vector<Family> families = {
      Qwen3MoeFamily(), Qwen2MoeFamily(),   LlamaFamily(), MixtralFamily(),   DeepseekFamily(),
      GptOssFamily(),   Glm4MoeFamily(),    Dots1Family(), MiniMaxM2Family(), OlmoeFamily(),
      GraniteFamily(),  Ernie45MoeFamily(), Qwen2Family(), Qwen3Family(),     Qwen3NextFamily(),
      Qwen35Family(),   Llama4Family(),     Mimo2Family()};
  return families;
}

std::string GgufNameOf(const std::string& family, Weight::Role role, uint32_t layer) {
  const Family::TensorRow* found = nullptr;
  for (const Family& candidate : AllFamilies()) {
    const bool own = candidate.name == family;
    if (found != nullptr && !own) continue;
    for (const Family::TensorRow& row : candidate.tensors) {
      if (row.role != role || row.gguf[0] == '\0') continue;
      found = &row;
      break;
    }
    if (found != nullptr && own) break;
  }
  return found == nullptr ? "" : NameInLayer(found->gguf, layer, 0);
}

ModelSpec BuildModelSpec(const Checkpoint& checkpoint) {
  if (checkpoint.tensors.empty()) {
    Fail(ErrorCode::kBadInput, "{}: expected a model, found no tensors{}", checkpoint.path,
         checkpoint.metadata.contains("tokenizer.ggml.tokens") ? " (the file has a vocabulary only)" : "");
  }
  const Family& family = FamilyOf(checkpoint);
  ModelSpec spec;
  spec.set_family(family.name);
  spec.set_name(NameOf(checkpoint));
  for (const std::string& file : checkpoint.files) spec.add_files(file);
  for (const uint64_t bytes : checkpoint.file_bytes) spec.add_file_bytes(bytes);
  family.read_parameters(checkpoint, &spec);
  CheckVocabulary(checkpoint, spec);

  BindTensors(checkpoint, family, &spec);
  for (const std::string& what : WhatCannotRun(spec)) spec.add_not_runnable(what);
  return spec;
}

}  // namespace onecopy
