// MetadataOfSentencePiece: the few fields of a Protobuf message that a tokenizer needs, read by hand: text/ has no other use
// for Protobuf, and every length is checked here. Source: Protobuf encoding; sentencepiece_model.proto (ModelProto).
#include <cstdint>
#include <cstring>
#include <iterator>
#include <optional>
#include <string>

#include "runtime/base/error.h"
#include "runtime/text/json_field.h"
#include "runtime/text/utf8.h"
#include "runtime/text/vocabulary.h"
#include "runtime/text/vocabulary_files.h"

namespace onecopy::text {
namespace {

struct Field {
  uint32_t number = 0;
  uint64_t value = 0;      // of a varint, or the bits of a fixed-size one
  std::string_view bytes;  // of a string or message
};

[[noreturn]] void Malformed() {
  Fail(ErrorCode::kBadInput, "tokenizer.model is not a sentencepiece model, or is damaged");
}

// The fields of a message, in order.
class Fields {
 public:
  explicit Fields(std::string_view message) : rest_(message) {}

  std::optional<Field> Next() {
    if (rest_.empty()) return std::nullopt;
    const uint64_t key = Varint();
    Field field{.number = static_cast<uint32_t>(key >> 3)};
    switch (key & 7) {
      case 0:
        field.value = Varint();
        break;
      case 1:
        field.value = Fixed(8);
        break;
      case 2:
        field.bytes = Take(Varint());
        break;
      case 5:
        field.value = Fixed(4);
        break;
      default:
        Malformed();
    }
    return field;
  }

 private:
  std::string_view Take(uint64_t n) {
    if (n > rest_.size()) Malformed();
    const std::string_view taken = rest_.substr(0, n);
    rest_.remove_prefix(n);
    return taken;
  }
  uint64_t Fixed(size_t n) {
    uint64_t value = 0;
    std::memcpy(&value, Take(n).data(), n);  // little-endian, as this machine
    return value;
  }
  uint64_t Varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      const auto byte = static_cast<uint8_t>(Take(1)[0]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80) return value;
    }
    Malformed();
  }

  std::string_view rest_;
};

void AddPiece(std::string_view message, Json* metadata) {
  std::string piece;
  float score = 0;
  uint64_t type = 1;
  for (Fields fields(message); const auto field = fields.Next();) {
    if (field->number == 1) piece = field->bytes;
    if (field->number == 2) {
      const auto bits = static_cast<uint32_t>(field->value);
      std::memcpy(&score, &bits, sizeof(score));
    }
    if (field->number == 3) type = field->value;
  }
  if (ReplaceInvalidUtf8(piece) != piece || type < 1 || type > 6) Malformed();
  (*metadata)["tokenizer.ggml.tokens"].push_back(piece);
  (*metadata)["tokenizer.ggml.scores"].push_back(score);
  (*metadata)["tokenizer.ggml.token_type"].push_back(type);  // GGUF took over the numbers
}

void ReadTrainer(std::string_view message, Json* metadata) {
  uint64_t kind = 1;
  const char* names[] = {"", "Unigram", "BPE", "word", "char"};
  for (Fields fields(message); const auto field = fields.Next();) {
    if (field->number == 3) kind = field->value;
    const auto id = static_cast<int32_t>(field->value);
    if (field->number == 40) (*metadata)["tokenizer.ggml.unknown_token_id"] = id;
    if (field->number == 41 && id >= 0) (*metadata)["tokenizer.ggml.bos_token_id"] = id;
    if (field->number == 42 && id >= 0) (*metadata)["tokenizer.ggml.eos_token_id"] = id;
  }
  if (kind != 2)
    Fail(ErrorCode::kBadInput, "tokenizer.model is of the kind {}, which is not supported; supported is BPE",
         kind < std::size(names) ? names[kind] : std::to_string(kind));
}

void ReadNormalizer(std::string_view message, Json* metadata) {
  bool prefix = true, squeezes = true, escapes = true;
  for (Fields fields(message); const auto field = fields.Next();) {
    if (field->number == 2 && !field->bytes.empty())
      Fail(ErrorCode::kBadInput,
           "tokenizer.model normalises texts by a table of its own, which is not supported");
    if (field->number == 3) prefix = field->value != 0;
    if (field->number == 4) squeezes = field->value != 0;
    if (field->number == 5) escapes = field->value != 0;
  }
  if (squeezes || !escapes)
    Fail(ErrorCode::kBadInput, "tokenizer.model {}, which is not supported",
         squeezes ? "removes repeated spaces" : "leaves spaces as they are");
  (*metadata)["tokenizer.ggml.add_space_prefix"] = prefix;
}

}  // namespace

Json MetadataOfSentencePiece(std::string_view bytes) {
  Json metadata = {{"tokenizer.ggml.model", "llama"},
                   {"tokenizer.ggml.tokens", Json::array()},
                   {"tokenizer.ggml.scores", Json::array()},
                   {"tokenizer.ggml.token_type", Json::array()},
                   // Defaults of the trainer.
                   {"tokenizer.ggml.unknown_token_id", 0},
                   {"tokenizer.ggml.bos_token_id", 1},
                   {"tokenizer.ggml.eos_token_id", 2}};
  std::optional<std::string_view> trainer, normalizer;
  for (Fields fields(bytes); const auto field = fields.Next();) {
    if (field->number == 1) AddPiece(field->bytes, &metadata);
    if (field->number == 2) trainer = field->bytes;
    if (field->number == 3) normalizer = field->bytes;
    if (metadata["tokenizer.ggml.tokens"].size() > static_cast<size_t>(kMaxVocabulary)) Malformed();
  }
  if (!trainer || !normalizer || metadata["tokenizer.ggml.tokens"].empty()) Malformed();
  ReadTrainer(*trainer, &metadata);
  ReadNormalizer(*normalizer, &metadata);
  return metadata;
}

}  // namespace onecopy::text
