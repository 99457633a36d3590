#include "runtime/model/hugging_face.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <string_view>
#include <utility>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"
#include "runtime/model/json_file.h"
#include "runtime/model/safetensors.h"
#include "runtime/model/text_config.h"

namespace onecopy {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr const char* kSingleFile = "model.safetensors";
constexpr const char* kIndexFile = "model.safetensors.index.json";

std::string Join(const std::string& directory, std::string_view name) {
  return (fs::path(directory) / name).string();
}

bool Exists(const std::string& path) {
  std::error_code error;  // a file that cannot be looked at is reported when it is opened
  return fs::exists(path, error) || error;
}

json OptionalObject(const std::string& path) {
  return Exists(path) ? ReadJsonObject(path) : json();
}

// An index may name only files beside it: "../../secret" or "/etc/passwd" would make a model read what it
// likes.
void CheckShardName(const std::string& index_path, const std::string& name) {
  const bool plain = !name.empty() && name != "." && name != ".." && IsUtf8(name) &&
                     std::none_of(name.begin(), name.end(),
                                  [](char c) { return c == '/' || static_cast<unsigned char>(c) < 0x20; });
  if (!plain) {
    Fail(ErrorCode::kBadInput, "{}: weight_map: expected names of files in the same directory, found \"{}\"",
         index_path, Printable(name));
  }
}

// Tensor name -> file name, from the index.
std::map<std::string, std::string> ReadWeightMap(const std::string& path) {
  const json index = ReadJsonObject(path);
  const auto weight_map = index.find("weight_map");
  if (weight_map == index.end() || !weight_map->is_object()) {
    Fail(ErrorCode::kBadInput, "{}: weight_map: expected an object of tensor and file names, found none",
         path);
  }
  std::map<std::string, std::string> files;
  for (const auto& [tensor, file] : weight_map->items()) {
    if (!file.is_string()) {
      Fail(ErrorCode::kBadInput, "{}: weight_map: expected a file name for \"{}\", found {}", path,
           Printable(tensor), file.type_name());
    }
    CheckShardName(path, file.get_ref<const std::string&>());
    files.emplace(tensor, file.get<std::string>());
  }
  if (files.empty()) Fail(ErrorCode::kBadInput, "{}: weight_map: expected tensors, found none", path);
  return files;
}

void AppendFile(Checkpoint* checkpoint, const std::string& path, Data data) {
  SafetensorsFile shard = ReadSafetensorsFile(path, data);
  const auto file = static_cast<uint32_t>(checkpoint->files.size());
  checkpoint->files.push_back(path);
  checkpoint->file_bytes.push_back(shard.bytes);
  checkpoint->file_stamps.push_back(shard.stamp);
  checkpoint->data_absent |= shard.data_absent;
  for (TensorInfo& tensor : shard.tensors) {
    tensor.file = file;
    const auto [at, added] = checkpoint->index.emplace(tensor.name, checkpoint->tensors.size());
    if (!added) {
      Fail(ErrorCode::kBadInput, "{}: tensor \"{}\" is in {} too", path, Printable(tensor.name),
           checkpoint->files[checkpoint->tensors[at->second].file]);
    }
    checkpoint->tensors.push_back(std::move(tensor));
  }
}

void OpenShards(Checkpoint* checkpoint, const std::string& index_path, Data data) {
  const std::map<std::string, std::string> weight_map = ReadWeightMap(index_path);
  std::map<std::string, uint32_t> file_of;  // by name, so that files are in the order of their numbers
  for (const auto& [tensor, name] : weight_map) file_of.emplace(name, 0);
  for (auto& [name, file] : file_of) {
    const std::string path = Join(checkpoint->path, name);
    if (!Exists(path))
      Fail(ErrorCode::kBadInput, "{}: weight_map names {}, which is not there", index_path, path);
    file = static_cast<uint32_t>(checkpoint->files.size());
    AppendFile(checkpoint, path, data);
  }
  for (const auto& [tensor, name] : weight_map) {
    const TensorInfo* found = checkpoint->Find(tensor);
    if (found == nullptr || found->file != file_of.at(name)) {
      Fail(ErrorCode::kBadInput, "{}: weight_map places tensor \"{}\" in {}, which does not have it",
           index_path, Printable(tensor), name);
    }
  }
}

void OpenWeights(Checkpoint* checkpoint, Data data) {
  // In transformers' order of preference.
  const std::string single = Join(checkpoint->path, kSingleFile);
  const std::string index = Join(checkpoint->path, kIndexFile);
  if (Exists(single)) return AppendFile(checkpoint, single, data);
  if (Exists(index)) return OpenShards(checkpoint, index, data);
  Fail(ErrorCode::kBadInput,
       "{}: no weights: expected {} or {}; other formats than safetensors must be converted first",
       checkpoint->path, kSingleFile, kIndexFile);
}

// Where there is a file beside it, that wins over tokenizer_config.json, as in transformers: chat_template.jinja, with
// others in a folder, or chat_template.json, which processors have.
void ReadChatTemplates(const std::string& directory, json* tokenizer_config) {
  constexpr uint64_t kMaxBytes = 1 << 20;
  const std::string jinja = Join(directory, "chat_template.jinja");
  const std::string in_json = Join(directory, "chat_template.json");
  const fs::path others = Join(directory, "additional_chat_templates");
  json named = json::array();
  if (Exists(jinja)) {
    named.push_back({{"name", "default"}, {"template", ReadTextFile(jinja, kMaxBytes)}});
  } else if (Exists(in_json)) {
    const json object = ReadJsonObject(in_json);
    if (object.contains("chat_template")) (*tokenizer_config)["chat_template"] = object["chat_template"];
  }
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(others, ignored))
    if (entry.path().extension() == ".jinja")
      named.push_back({{"name", entry.path().stem().string()},
                       {"template", ReadTextFile(entry.path().string(), kMaxBytes)}});
  if (named.size() == 1 && Exists(jinja)) {
    (*tokenizer_config)["chat_template"] = named[0]["template"];
  } else if (!named.empty()) {
    (*tokenizer_config)["chat_template"] = named;
  }
}

}  // namespace

Checkpoint OpenHuggingFace(const std::string& directory, Data data) {
  Checkpoint checkpoint;
  checkpoint.path = directory;
  checkpoint.format = CheckpointFormat::kHuggingFace;
  const std::string config = Join(directory, "config.json");
  if (!Exists(config)) {
    Fail(ErrorCode::kBadInput,
         "{}: expected a model directory with config.json, which is not there; a GGUF model is "
         "named by its file",
         directory);
  }
  checkpoint.metadata = ReadJsonObject(config);
  checkpoint.tokenizer = OptionalObject(Join(directory, "tokenizer.json"));
  checkpoint.tokenizer_config = OptionalObject(Join(directory, "tokenizer_config.json"));
  checkpoint.generation_config = OptionalObject(Join(directory, "generation_config.json"));
  ReadChatTemplates(directory, &checkpoint.tokenizer_config);
  for (const char* name : {"tokenizer.model", "tiktoken.model"}) {
    const std::string path = Join(directory, name);
    if (!checkpoint.tokenizer.is_null() || !checkpoint.vocabulary_file.empty() || !Exists(path)) continue;
    checkpoint.vocabulary = ReadTextFile(path, 64 << 20);
    checkpoint.vocabulary_file = name;
  }
  OpenWeights(&checkpoint, data);
  TakeTextModel(&checkpoint);
  return checkpoint;
}

}  // namespace onecopy
