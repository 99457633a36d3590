#include "runtime/text/tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/base/error.h"
#include "runtime/text/byte_alphabet.h"
#include "runtime/text/tokenizer_parts.h"
#include "runtime/text/utf8.h"

namespace onecopy::text {
namespace {

// Positions inside a word are 32 bits; a longer text is a mistake in any case.
constexpr size_t kMaxTextBytes = (size_t{1} << 31) - 1;

// What the instruction-tuned models of the last years end a turn or a text with. Names that a model also has
// as an ordinary word are told apart by their kind.
constexpr std::string_view kEndNames[] = {
    "<|eot_id|>", "<|eom_id|>",    "<|im_end|>",      "<|end|>",       "<|return|>",
    "<|call|>",   "<|endoftext|>", "<|end_of_text|>", "<end_of_turn>", "<eos>",
    "</s>",       "<EOT>",         "[EOT]",           "[EOS]",         "<｜end▁of▁sentence｜>"};

// One call of Encode. The order is that of Hugging Face: added tokens of the raw text, normaliser, added tokens of the
// normalised text, pre-tokenizer, merges. What an added token stands for is thus never normalised or merged with text.
class Encoding {
 public:
  Encoding(const TokenizerParts& parts, bool parse_special) : parts_(parts), parse_special_(parse_special) {}

  void Add(std::string_view text, std::vector<int32_t>* ids) {
    bool at_start = true;
    for (const Fragment& fragment : parts_.added.Split(text, parse_special_)) {
      if (fragment.id >= 0) {
        ids->push_back(fragment.id);
      } else {
        AddNormalized(Normalize(parts_.normalizer, fragment.text), at_start, ids);
      }
      at_start = false;
    }
  }

 private:
  void AddNormalized(std::string_view text, bool at_start, std::vector<int32_t>* ids) {
    for (const Fragment& fragment : parts_.added_normalized.Split(text, parse_special_)) {
      if (fragment.id >= 0) {
        ids->push_back(fragment.id);
      } else {
        const Words words = SplitIntoWords(parts_.pre_tokenizer, fragment.text, at_start, regex_scratch_);
        for (const std::string_view word : words.pieces) parts_.encode_word(word, &merge_scratch_, ids);
      }
      at_start = false;
    }
  }

  const TokenizerParts& parts_;
  bool parse_special_;
  RegexScratch regex_scratch_;
  MergeScratch merge_scratch_;
};

}  // namespace

std::vector<int32_t> Tokenizer::Encode(std::string_view text, const EncodeOptions& options) const {
  if (text.size() > kMaxTextBytes) {
    Fail(ErrorCode::kBadInput, "a text of {} bytes is too long to tokenise; the limit is {}", text.size(),
         kMaxTextBytes);
  }
  std::vector<int32_t> ids;
  if (options.add_special) ids = parts_->before;
  Encoding(*parts_, options.parse_special).Add(ReplaceInvalidUtf8(text), &ids);
  if (options.add_special) ids.insert(ids.end(), parts_->after.begin(), parts_->after.end());
  return ids;
}

const std::string& Tokenizer::Piece(int32_t id) const {
  static const std::string empty;
  return parts_->vocabulary->Has(id) ? parts_->pieces[id] : empty;
}

std::string Tokenizer::Decode(std::span<const int32_t> ids, bool skip_special) const {
  std::string bytes;
  for (const int32_t id : ids) {
    if (!(skip_special && is_special(id))) bytes += Piece(id);
  }
  if (parts_->strips_leading_space && bytes.starts_with(' ')) bytes.erase(0, 1);
  return ReplaceInvalidUtf8(bytes);
}

int32_t Tokenizer::vocab_size() const {
  return parts_->vocabulary->size();
}
int32_t Tokenizer::Find(std::string_view token) const {
  return parts_->vocabulary->Find(token);
}
int32_t Tokenizer::bos() const {
  return parts_->bos;
}
int32_t Tokenizer::eos() const {
  return parts_->eos;
}
int32_t Tokenizer::eot() const {
  return parts_->eot;
}
const std::vector<int32_t>& Tokenizer::end_of_generation() const {
  return parts_->end_of_generation;
}
const std::vector<std::pair<std::string, std::string>>& Tokenizer::chat_templates() const {
  return parts_->chat_templates;
}
const std::vector<std::pair<std::string, std::string>>& Tokenizer::named_tokens() const {
  return parts_->named_tokens;
}
bool Tokenizer::strips_leading_space() const {
  return parts_->strips_leading_space;
}

const std::string* Tokenizer::FindChatTemplate(std::string_view name) const {
  for (const auto& [known, source] : parts_->chat_templates)
    if (known == name) return &source;
  return nullptr;
}

bool Tokenizer::IsEndOfGeneration(int32_t id) const {
  return std::binary_search(parts_->end_of_generation.begin(), parts_->end_of_generation.end(), id);
}

bool Tokenizer::is_special(int32_t id) const {
  if (!parts_->vocabulary->Has(id)) return false;
  const TokenKind kind = parts_->vocabulary->kind(id);
  return kind == TokenKind::kControl || kind == TokenKind::kUnknown;
}

std::vector<std::string> SentencePieces(const Vocabulary& vocabulary, bool byte_fallback) {
  std::vector<std::string> pieces(vocabulary.size());
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string& token = vocabulary.text(id);
    const TokenKind kind = vocabulary.kind(id);
    const int byte = byte_fallback ? ByteOfToken(token) : -1;
    if (kind == TokenKind::kControl || kind == TokenKind::kUnknown) {
      pieces[id] = token;
    } else if (byte >= 0) {
      pieces[id] = std::string(1, static_cast<char>(byte));
    } else {
      pieces[id] = ReplaceAll(token, kSpaceMark, " ");
    }
  }
  return pieces;
}

std::vector<std::string> ByteLevelPieces(const Vocabulary& vocabulary) {
  std::vector<std::string> pieces(vocabulary.size());
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const std::string& token = vocabulary.text(id);
    const TokenKind kind = vocabulary.kind(id);
    const bool written = kind == TokenKind::kControl || kind == TokenKind::kUserDefined;
    pieces[id] = written ? token : AlphabetToBytes(token).value_or(token);
  }
  return pieces;
}

void AddWellKnownEnds(TokenizerParts* parts) {
  const Vocabulary& vocabulary = *parts->vocabulary;
  // In the harmony format of gpt-oss <|end|> only ends a message, after which the model goes on.
  const bool harmony = vocabulary.Find("<|return|>") >= 0 && vocabulary.Find("<|call|>") >= 0;
  for (const std::string_view name : kEndNames) {
    const int32_t id = vocabulary.Find(name);
    if (id < 0 || (harmony && name == "<|end|>")) continue;
    const TokenKind kind = vocabulary.kind(id);
    if (kind == TokenKind::kControl || kind == TokenKind::kUserDefined)
      parts->end_of_generation.push_back(id);
  }
}

void FinishEnds(TokenizerParts* parts) {
  std::vector<int32_t>& ends = parts->end_of_generation;
  std::sort(ends.begin(), ends.end());
  ends.erase(std::unique(ends.begin(), ends.end()), ends.end());
}

}  // namespace onecopy::text
