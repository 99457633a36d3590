// MetadataOfTiktoken: ranks of whole tokens to the merges that make them.
#include <algorithm>
#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"
#include "runtime/text/byte_alphabet.h"
#include "runtime/text/json_field.h"
#include "runtime/text/vocabulary.h"
#include "runtime/text/vocabulary_files.h"

namespace onecopy::text {
namespace {

// Reserved for special tokens above the vocabulary (tokenization_kimi.py).
constexpr int64_t kReserved = 256;
// A token that is longer would take long to take apart; the longest in use has 128 bytes.
constexpr size_t kMaxTokenBytes = 1024;

using Ranks = std::unordered_map<std::string, int64_t>;

std::optional<std::string> FromBase64(std::string_view text) {
  std::string bytes;
  uint32_t bits = 0, n_bits = 0;
  while (text.ends_with('=')) text.remove_suffix(1);
  for (const char c : text) {
    uint32_t value;
    if (c >= 'A' && c <= 'Z')
      value = c - 'A';
    else if (c >= 'a' && c <= 'z')
      value = c - 'a' + 26;
    else if (c >= '0' && c <= '9')
      value = c - '0' + 52;
    else if (c == '+')
      value = 62;
    else if (c == '/')
      value = 63;
    else
      return std::nullopt;
    bits = bits << 6 | value;
    if ((n_bits += 6) >= 8) bytes += static_cast<char>(bits >> (n_bits -= 8) & 0xFF);
  }
  return bytes;
}

// Tokens by rank. Ranks are 0 … n - 1, each once.
std::vector<std::string> ReadTokens(std::string_view text) {
  std::vector<std::string> tokens;
  for (size_t line = 1; !text.empty(); ++line) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view entry = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (entry.empty()) continue;
    const size_t space = std::min(entry.find(' '), entry.size());
    const auto bytes = FromBase64(entry.substr(0, space));
    const std::string_view number = entry.substr(std::min(space + 1, entry.size()));
    int64_t rank = -1;
    std::from_chars(number.data(), number.data() + number.size(), rank);
    if (!bytes || bytes->empty() || bytes->size() > kMaxTokenBytes ||
        rank != static_cast<int64_t>(tokens.size()) || rank >= kMaxVocabulary)
      Fail(ErrorCode::kBadInput, "tiktoken.model: line {} is not a token in base64 and the rank {}", line,
           tokens.size());
    tokens.push_back(*bytes);
  }
  return tokens;
}

// The last merge of a token: its two parts after all merges of lower rank. nullopt: there is none that makes it.
std::optional<std::pair<std::string, std::string>> LastMerge(const std::string& token, int64_t rank,
                                                             const Ranks& ranks) {
  std::vector<std::string> parts;
  for (const char c : token) parts.emplace_back(1, c);
  while (parts.size() > 2) {
    int64_t best = rank;
    size_t at = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto found = ranks.find(parts[i] + parts[i + 1]);
      if (found != ranks.end() && found->second < best) best = found->second, at = i;
    }
    if (best == rank) return std::nullopt;
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<ptrdiff_t>(at) + 1);
  }
  return std::pair(parts[0], parts[1]);
}

std::string InAlphabet(const std::string& bytes) {
  std::string text;
  for (const char byte : bytes) text += ByteToAlphabet(static_cast<uint8_t>(byte));
  return text;
}

void AddSpecialTokens(const Json& tokenizer_config, size_t vocab_size, Json* metadata) {
  Json& tokens = (*metadata)["tokenizer.ggml.tokens"];
  Json& types = (*metadata)["tokenizer.ggml.token_type"];
  for (int64_t i = 0; i < kReserved; ++i) {
    tokens.push_back(fmt::format("<|reserved_token_{}|>", vocab_size + static_cast<size_t>(i)));
    types.push_back(3);
  }
  const Json& added = Member(tokenizer_config, "added_tokens_decoder");
  if (!added.is_object()) return;
  for (const auto& [key, entry] : added.items()) {
    const std::string where = "tokenizer_config.json: added_tokens_decoder." + Printable(key);
    int64_t id = -1;
    std::from_chars(key.data(), key.data() + key.size(), id);
    const std::optional<std::string> content = StringField(entry, "content", where);
    if (!content || id < static_cast<int64_t>(vocab_size) || id >= static_cast<int64_t>(tokens.size()))
      Fail(ErrorCode::kBadInput, "{} is not the content of an id from {} to {}", where, vocab_size,
           tokens.size() - 1);
    tokens[static_cast<size_t>(id)] = *content;
    types[static_cast<size_t>(id)] = 3;  // tokenization_kimi.py takes all of them for special
  }
}

}  // namespace

Json MetadataOfTiktoken(std::string_view bytes, const Json& tokenizer_config) {
  // The file has no pattern: that is in the model's Python code, which this knows of one family.
  const Json& code = Member(Member(tokenizer_config, "auto_map"), "AutoTokenizer");
  if (code.dump().find("tokenization_kimi") == std::string::npos)
    Fail(ErrorCode::kBadInput,
         "tiktoken.model is supported with Kimi's tokenization_kimi, but tokenizer_config.json names {}; "
         "make a "
         "tokenizer.json of it, or use a GGUF file",
         Printable(code.dump()));
  const std::vector<std::string> tokens = ReadTokens(bytes);
  Ranks ranks;
  for (size_t i = 0; i < tokens.size(); ++i) ranks.emplace(tokens[i], static_cast<int64_t>(i));
  Json metadata = {{"tokenizer.ggml.model", "gpt2"},
                   {"tokenizer.ggml.pre", "kimi-k2"},
                   {"tokenizer.ggml.tokens", Json::array()},
                   {"tokenizer.ggml.token_type", Json::array()},
                   {"tokenizer.ggml.merges", Json::array()}};
  for (size_t i = 0; i < tokens.size(); ++i) {
    metadata["tokenizer.ggml.tokens"].push_back(InAlphabet(tokens[i]));
    metadata["tokenizer.ggml.token_type"].push_back(1);
    if (tokens[i].size() < 2) continue;
    if (const auto merge = LastMerge(tokens[i], static_cast<int64_t>(i), ranks))
      metadata["tokenizer.ggml.merges"].push_back(InAlphabet(merge->first) + " " + InAlphabet(merge->second));
  }
  AddSpecialTokens(tokenizer_config, tokens.size(), &metadata);
  return metadata;
}

}  // namespace onecopy::text
