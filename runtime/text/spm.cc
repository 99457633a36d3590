#include "runtime/text/spm.h"

#include <array>

#include "runtime/text/utf8.h"

namespace onecopy::text {
namespace {

class SpmEncoder {
 public:
  SpmEncoder(std::shared_ptr<const Vocabulary> vocabulary, std::vector<float> scores, int32_t unknown_id)
      : vocabulary_(std::move(vocabulary)), scores_(std::move(scores)), unknown_id_(unknown_id) {
    for (int byte = 0; byte < 256; ++byte) {
      byte_ids_[byte] = vocabulary_->FindByteToken(static_cast<uint8_t>(byte));
    }
  }

  void Encode(std::string_view word, MergeScratch* scratch, std::vector<int32_t>* ids) const {
    scratch->symbols.clear();
    for (size_t i = 0; i < word.size();) {
      const uint32_t bytes = DecodeUtf8(word.substr(i)).bytes;
      scratch->Add(static_cast<uint32_t>(i), bytes, vocabulary_->Find(word.substr(i, bytes)));
      i += bytes;
    }
    MergeSymbols(scratch,
                 [this, word](const MergeSymbol& left, const MergeSymbol& right) -> std::optional<Merge> {
                   const size_t bytes = left.bytes + right.bytes;
                   // Without this bound a long run of one character would hash ever longer texts.
                   if (bytes > vocabulary_->max_token_bytes()) return std::nullopt;
                   const int32_t id = vocabulary_->Find(word.substr(left.begin, bytes));
                   if (id < 0) return std::nullopt;
                   return Merge{-static_cast<double>(scores_[id]), id};
                 });
    for (const MergeSymbol& symbol : scratch->symbols) {
      if (symbol.bytes == 0) continue;
      if (symbol.id >= 0) {
        ids->push_back(symbol.id);
      } else {
        AppendBytes(word.substr(symbol.begin, symbol.bytes), ids);
      }
    }
  }

 private:
  void AppendBytes(std::string_view character, std::vector<int32_t>* ids) const {
    for (const char byte : character) {
      const int32_t byte_id = byte_ids_[static_cast<uint8_t>(byte)];
      const int32_t id = byte_id >= 0 ? byte_id : unknown_id_;
      if (id >= 0) ids->push_back(id);
    }
  }

  std::shared_ptr<const Vocabulary> vocabulary_;
  std::vector<float> scores_;
  int32_t unknown_id_;
  std::array<int32_t, 256> byte_ids_{};
};

}  // namespace

WordEncoder MakeSpmEncoder(std::shared_ptr<const Vocabulary> vocabulary, std::vector<float> scores,
                           int32_t unknown_id) {
  auto encoder = std::make_shared<const SpmEncoder>(std::move(vocabulary), std::move(scores), unknown_id);
  return [encoder](std::string_view word, MergeScratch* scratch, std::vector<int32_t>* ids) {
    encoder->Encode(word, scratch, ids);
  };
}

}  // namespace onecopy::text
