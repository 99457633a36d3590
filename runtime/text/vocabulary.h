// Vocabulary: the tokens of a model as its file spells them, and what each is. Immutable after Build,
// shareable between threads. Source: GGUF specification v3 (tokenizer.ggml.token_type), sentencepiece
// ModelProto.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace onecopy::text {

// Values of tokenizer.ggml.token_type.
enum class TokenKind : uint8_t {
  kUndefined = 0,
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,      // found in a text only when the caller allows it, and not shown
  kUserDefined = 4,  // found in every text, and shown
  kUnused = 5,
  kByte = 6,  // "<0xE4>"
};

// No vocabulary in use has a tenth of this; it bounds the memory that a wrong id in a file can ask for.
inline constexpr int64_t kMaxVocabulary = int64_t{1} << 22;

class Vocabulary {
 public:
  // text[id]: the token, empty for an id that does not exist. kind: as long as text.
  // Errors: kBadInput when two ids have the same text; `where` names the field in messages.
  static std::shared_ptr<const Vocabulary> Build(std::vector<std::string> text, std::vector<TokenKind> kind,
                                                 std::string_view where);

  int32_t size() const { return static_cast<int32_t>(text_.size()); }
  bool Has(int32_t id) const { return id >= 0 && id < size(); }
  const std::string& text(int32_t id) const { return text_[id]; }
  TokenKind kind(int32_t id) const { return kind_[id]; }

  int32_t Find(std::string_view token) const;  // -1: none
  int32_t FindByteToken(uint8_t byte) const;   // of "<0xE4>"; -1: none
  size_t max_token_bytes() const { return max_token_bytes_; }

 private:
  Vocabulary() = default;

  std::vector<std::string> text_;
  std::vector<TokenKind> kind_;
  std::unordered_map<std::string_view, int32_t> ids_;  // keys point into text_
  size_t max_token_bytes_ = 0;
};

// The byte that "<0xE4>" stands for; -1 when `token` is no such token.
int ByteOfToken(std::string_view token);

}  // namespace onecopy::text
