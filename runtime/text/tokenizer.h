// Tokenizer: text to token ids and back, exactly as the model's own tokenizer does it. Built from the JSON of
// a model, so that nothing here knows model files. Immutable, cheap to copy, safe to use from several
// threads. Sources: GGUF specification v3 (keys tokenizer.ggml.*), Hugging Face tokenizers 0.2x
// (tokenizer.json).
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace onecopy::text {

struct EncodeOptions {
  bool add_special = true;  // what the model puts around every text: BOS, EOS
  bool parse_special =
      true;  // "<|im_end|>" in the text is that token; off: it is spelled out, as text of users should be
};

struct TokenizerParts;

class Tokenizer {
 public:
  // metadata: the object of a GGUF file's keys, as in Checkpoint::metadata; only "tokenizer.*" is read.
  // Errors: kBadInput, naming key and reason; also for a kind of model that is not supported, naming those
  // that are.
  static Tokenizer FromGguf(const nlohmann::json& metadata);

  // The files of a Hugging Face directory, by their names; all but tokenizer_json may be null.
  // Errors: as FromGguf.
  static Tokenizer FromHuggingFace(const nlohmann::json& tokenizer_json,
                                   const nlohmann::json& tokenizer_config,
                                   const nlohmann::json& generation_config, const nlohmann::json& config);

  // Bytes of `text` that are not UTF-8 count as U+FFFD. Errors: kBadInput when the text makes a
  // pre-tokenizer's regular expression run away, or has 2 GiB or more.
  std::vector<int32_t> Encode(std::string_view text, const EncodeOptions& options) const;

  // The raw bytes of one token, which may be part of a character; empty for an id that does not exist.
  const std::string& Piece(int32_t id) const;
  // The text of many, as the model's own decoder gives it; invalid bytes become U+FFFD.
  std::string Decode(std::span<const int32_t> ids, bool skip_special) const;

  int32_t vocab_size() const;                  // greatest id + 1; a model's logits may have more columns
  int32_t Find(std::string_view token) const;  // the id of a token by its spelling in the file; -1: none

  // -1 where the model has none. eot ends a turn of a conversation, and equals eos where the file does not
  // say.
  int32_t bos() const;
  int32_t eos() const;
  int32_t eot() const;
  const std::vector<int32_t>& end_of_generation() const;  // sorted; generation stops after any of these
  bool IsEndOfGeneration(int32_t id) const;
  bool is_special(int32_t id) const;  // a control token: not part of the text

  // Jinja programs by name (chat_template.h); most models have one, "default", or none.
  const std::vector<std::pair<std::string, std::string>>& chat_templates() const;
  const std::string* FindChatTemplate(std::string_view name) const;  // nullptr: none
  // What templates call the model's special tokens: {"bos_token", "<s>"}, …
  const std::vector<std::pair<std::string, std::string>>& named_tokens() const;
  bool strips_leading_space() const;  // the first space of a whole text is the tokenizer's, not the text's

 private:
  explicit Tokenizer(std::shared_ptr<const TokenizerParts> parts) : parts_(std::move(parts)) {}

  std::shared_ptr<const TokenizerParts> parts_;
};

}  // namespace onecopy::text
