#include "runtime/text/bpe.h"

#include <array>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"
#include "runtime/text/byte_alphabet.h"
#include "runtime/text/utf8.h"

namespace onecopy::text {
namespace {

struct PairHash {
  // The finaliser of MurmurHash3: neighbouring ids must not fall into neighbouring buckets.
  size_t operator()(uint64_t pair) const {
    pair ^= pair >> 33;
    pair *= 0xFF51AFD7ED558CCDull;
    pair ^= pair >> 33;
    return pair;
  }
};

uint64_t PairKey(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

// Works on ids, not on texts: a look-up hashes eight bytes however long the tokens are. That needs every merge to be a
// token, which is checked; llama.cpp, which joins texts, would also accept merges through texts that are none.
class BpeEncoder {
 public:
  BpeEncoder(std::shared_ptr<const Vocabulary> vocabulary,
             std::span<const std::pair<std::string, std::string>> merges, const BpeOptions& options,
             std::string_view where)
      : vocabulary_(std::move(vocabulary)), options_(options) {
    merges_.reserve(merges.size());
    for (size_t rank = 0; rank < merges.size(); ++rank) {
      const auto& [left, right] = merges[rank];
      const int32_t left_id = Require(left, rank, where), right_id = Require(right, rank, where);
      const int32_t merged_id = Require(left + right, rank, where);
      merges_.emplace(PairKey(left_id, right_id), Merge{static_cast<double>(rank), merged_id});
    }
    for (int byte = 0; byte < 256; ++byte) {
      byte_ids_[byte] = options.byte_level ? vocabulary_->Find(ByteToAlphabet(static_cast<uint8_t>(byte)))
                                           : vocabulary_->FindByteToken(static_cast<uint8_t>(byte));
    }
  }

  void Encode(std::string_view word, MergeScratch* scratch, std::vector<int32_t>* ids) const {
    if (options_.ignore_merges) {
      const int32_t id =
          options_.byte_level ? vocabulary_->Find(BytesToAlphabet(word)) : vocabulary_->Find(word);
      if (id >= 0) return ids->push_back(id);
    }
    scratch->symbols.clear();
    options_.byte_level ? AddBytes(word, scratch) : AddCharacters(word, scratch);
    MergeSymbols(scratch, [this](const MergeSymbol& left, const MergeSymbol& right) -> std::optional<Merge> {
      const auto it = merges_.find(PairKey(left.id, right.id));
      return it == merges_.end() ? std::nullopt : std::optional(it->second);
    });
    for (const MergeSymbol& symbol : scratch->symbols) {
      if (symbol.bytes > 0) ids->push_back(symbol.id);
    }
  }

 private:
  int32_t Require(const std::string& token, size_t rank, std::string_view where) const {
    const int32_t id = vocabulary_->Find(token);
    if (id < 0) {
      Fail(ErrorCode::kBadInput,
           "{}[{}] needs the token '{}', which the vocabulary of {} tokens does not have", where, rank,
           Printable(token), vocabulary_->size());
    }
    return id;
  }

  void AddBytes(std::string_view word, MergeScratch* scratch) const {
    for (size_t i = 0; i < word.size(); ++i) {
      const int32_t id = byte_ids_[static_cast<uint8_t>(word[i])];
      if (id >= 0) {
        scratch->Add(static_cast<uint32_t>(i), 1, id);
      } else {
        AddUnknown(i, 1, scratch);
      }
    }
  }

  void AddCharacters(std::string_view word, MergeScratch* scratch) const {
    for (size_t i = 0; i < word.size();) {
      const uint32_t bytes = DecodeUtf8(word.substr(i)).bytes;
      const std::string_view character = word.substr(i, bytes);
      const int32_t id = vocabulary_->Find(character);
      if (id >= 0) {
        scratch->Add(static_cast<uint32_t>(i), bytes, id);
      } else if (options_.byte_fallback && HasAllBytes(character)) {
        for (uint32_t k = 0; k < bytes; ++k) {
          scratch->Add(static_cast<uint32_t>(i + k), 1, byte_ids_[static_cast<uint8_t>(character[k])]);
        }
      } else {
        AddUnknown(i, bytes, scratch);
      }
      i += bytes;
    }
  }

  bool HasAllBytes(std::string_view character) const {
    for (const char byte : character) {
      if (byte_ids_[static_cast<uint8_t>(byte)] < 0) return false;
    }
    return true;
  }

  void AddUnknown(size_t begin, uint32_t bytes, MergeScratch* scratch) const {
    if (options_.unknown_id < 0) return;
    std::vector<MergeSymbol>& symbols = scratch->symbols;
    const bool after_unknown = !symbols.empty() && symbols.back().id == options_.unknown_id;
    if (options_.fuse_unknown && after_unknown) {
      symbols.back().bytes += bytes;
    } else {
      scratch->Add(static_cast<uint32_t>(begin), bytes, options_.unknown_id);
    }
  }

  std::shared_ptr<const Vocabulary> vocabulary_;
  BpeOptions options_;
  std::unordered_map<uint64_t, Merge, PairHash> merges_;
  std::array<int32_t, 256> byte_ids_{};  // -1: no such token
};

}  // namespace

WordEncoder MakeBpeEncoder(std::shared_ptr<const Vocabulary> vocabulary,
                           std::span<const std::pair<std::string, std::string>> merges,
                           const BpeOptions& options, std::string_view where) {
  auto encoder = std::make_shared<const BpeEncoder>(std::move(vocabulary), merges, options, where);
  return [encoder](std::string_view word, MergeScratch* scratch, std::vector<int32_t>* ids) {
    encoder->Encode(word, scratch, ids);
  };
}

}  // namespace onecopy::text
