// AddConfigs: what a model's directory says about a vocabulary that is no tokenizer.json.
#include <iterator>
#include <string>

#include "runtime/text/json_field.h"
#include "runtime/text/vocabulary_files.h"

namespace onecopy::text {
namespace {

const std::string kConfig = "tokenizer_config.json";

// The id of a special token that tokenizer_config.json names; -1: none.
int64_t IdOf(const Json& tokenizer_config, const char* key, const Json& tokens) {
  const Json& value = Member(tokenizer_config, key);
  const Json& content = value.is_object() ? Member(value, "content") : value;
  if (!content.is_string()) return -1;
  for (size_t id = 0; id < tokens.size(); ++id)
    if (tokens[id] == content) return static_cast<int64_t>(id);
  return -1;
}

void AddChatTemplates(const Json& tokenizer_config, Json* metadata) {
  const std::string key = "tokenizer.chat_template";
  const Json& chat = Member(tokenizer_config, "chat_template");
  if (chat.is_string()) (*metadata)[key] = chat;
  if (!chat.is_array()) return;
  for (const Json& entry : chat) {
    const std::string name = StringField(entry, "name", kConfig).value_or("default");
    (*metadata)[name == "default" ? key : key + "." + name] =
        StringField(entry, "template", kConfig).value_or("");
  }
}

}  // namespace

void AddConfigs(const Json& tokenizer_config, const Json& generation_config, Json* metadata) {
  const std::string prefix = "tokenizer.ggml.";
  const Json tokens = metadata->at(prefix + "tokens");
  for (const auto& [name, key] : {std::pair("bos_token", "bos_token_id"),
                                  {"eos_token", "eos_token_id"},
                                  {"unk_token", "unknown_token_id"},
                                  {"pad_token", "padding_token_id"}}) {
    const int64_t id = IdOf(tokenizer_config, name, tokens);
    if (id >= 0) (*metadata)[prefix + key] = id;
  }
  for (const char* key : {"add_bos_token", "add_eos_token"})
    if (!Member(tokenizer_config, key).is_null())
      (*metadata)[prefix + key] = BoolField(tokenizer_config, key, false, kConfig);
  // Ends besides the eos token: a GGUF file has two keys for such.
  const Json& ends = Member(generation_config, "eos_token_id");
  const char* keys[] = {"eot_token_id", "eom_token_id"};
  size_t n = 0;
  for (const Json& end : ends.is_array() ? ends : Json::array({ends})) {
    const int64_t id = end.is_number_integer() ? end.get<int64_t>() : -1;
    const bool known = id >= 0 && id < static_cast<int64_t>(tokens.size());
    if (known && n < std::size(keys) && id != metadata->value(prefix + "eos_token_id", int64_t{-1}))
      (*metadata)[prefix + keys[n++]] = id;
  }
  AddChatTemplates(tokenizer_config, metadata);
}

}  // namespace onecopy::text
