// GGUF metadata: typed key-value pairs to JSON values of the same kind, and the rules within a vocabulary.
#include <cctype>
#include <string_view>
#include <utility>

#include "runtime/base/printable.h"
#include "runtime/model/gguf.h"
#include "runtime/model/gguf_types.h"
#include "runtime/model/json_file.h"

namespace onecopy {
namespace {

using namespace gguf;
using nlohmann::json;

constexpr uint64_t kMaxKeyBytes = 65535;  // by the specification
constexpr uint64_t kMinPairBytes = 8 + 1 + 4 + 1;

ValueType ReadType(HeaderFile& file) {
  const auto type = file.Read<uint32_t>();
  if (type >= kNumTypes) file.Reject("expected a value type from 0 to {}, found {}", kNumTypes - 1, type);
  return static_cast<ValueType>(type);
}

json ReadScalar(HeaderFile& file, ValueType type) {
  switch (type) {
    case kU8:
      return file.Read<uint8_t>();
    case kI8:
      return file.Read<int8_t>();
    case kU16:
      return file.Read<uint16_t>();
    case kI16:
      return file.Read<int16_t>();
    case kU32:
      return file.Read<uint32_t>();
    case kI32:
      return file.Read<int32_t>();
    case kU64:
      return file.Read<uint64_t>();
    case kI64:
      return file.Read<int64_t>();
    case kF32:
      return file.Read<float>();
    case kF64:
      return file.Read<double>();
    case kString:
      return file.ReadString(file.Read<uint64_t>());
    case kBool: {
      const auto byte = file.Read<uint8_t>();
      if (byte > 1) file.Reject("expected 0 or 1 for a bool, found {}", byte);
      return byte == 1;
    }
    case kArray:
    case kNumTypes:
      break;
  }
  file.Reject("arrays of arrays are not supported");
}

json ReadArray(HeaderFile& file, uint64_t* elements_left) {
  const ValueType type = ReadType(file);
  const auto count = file.Read<uint64_t>();
  if (type == kArray) file.Reject("expected an array of plain values, found an array of arrays");
  // Once per array: a check per element against the file's size made the loading of large vocabularies slow
  // elsewhere.
  file.Require(count, kMinBytes[type], "array elements");
  if (count > *elements_left) {
    file.Reject("{} array elements bring the metadata above {}, more than any known model has", count,
                kMaxGgufArrayElements);
  }
  *elements_left -= count;
  json::array_t values;
  values.reserve(count);
  for (uint64_t i = 0; i < count; ++i) values.push_back(ReadScalar(file, type));
  return json(std::move(values));
}

std::string ReadKey(HeaderFile& file, uint64_t number) {
  file.SetContext(fmt::format("metadata key {}", number));
  const auto bytes = file.Read<uint64_t>();
  if (bytes == 0) file.Reject("the key is empty");
  if (bytes > kMaxKeyBytes) file.Reject("expected a key of at most {} bytes, found {}", kMaxKeyBytes, bytes);
  std::string key = file.ReadString(bytes);
  if (key.find('\0') != std::string::npos) file.Reject("the key \"{}\" has a NUL character", Printable(key));
  if (!IsUtf8(key)) file.Reject("the key \"{}\" is not UTF-8", Printable(key));
  return key;
}

// "<0x0A>": the spelling of byte tokens, whose value tokenizers take from the two digits.
bool IsByteToken(std::string_view token) {
  return token.size() == 6 && token.substr(0, 3) == "<0x" && token[5] == '>' &&
         std::isxdigit(static_cast<unsigned char>(token[3])) != 0 &&
         std::isxdigit(static_cast<unsigned char>(token[4])) != 0;
}

}  // namespace

json ReadGgufMetadata(HeaderFile& file, uint64_t n_keys) {
  file.Require(n_keys, kMinPairBytes, "metadata keys");
  if (n_keys > kMaxGgufKeys) file.Reject("expected at most {} metadata keys, found {}", kMaxGgufKeys, n_keys);
  json::object_t metadata;
  uint64_t elements_left = kMaxGgufArrayElements;
  for (uint64_t i = 0; i < n_keys; ++i) {
    std::string key = ReadKey(file, i);
    file.SetContext(fmt::format("metadata key \"{}\"", Printable(key)));
    const ValueType type = ReadType(file);
    json value = type == kArray ? ReadArray(file, &elements_left) : ReadScalar(file, type);
    if (!metadata.emplace(std::move(key), std::move(value)).second) file.Reject("the key is there twice");
  }
  file.SetContext("");
  return json(std::move(metadata));
}

void CheckGgufVocabulary(const std::string& path, const json& metadata) {
  const auto tokens = metadata.find("tokenizer.ggml.tokens");
  if (tokens == metadata.end()) return;
  if (!tokens->is_array() || (!tokens->empty() && !tokens->front().is_string())) {
    Fail(ErrorCode::kBadInput, "{}: tokenizer.ggml.tokens: expected an array of strings", path);
  }
  for (const char* key : {"tokenizer.ggml.scores", "tokenizer.ggml.token_type"}) {
    const auto list = metadata.find(key);
    if (list == metadata.end()) continue;
    if (!list->is_array() || list->size() != tokens->size()) {
      Fail(ErrorCode::kBadInput, "{}: {}: expected an array of {} elements, one a token, found {}", path, key,
           tokens->size(), list->is_array() ? list->size() : 0);
    }
    if (!list->empty() && !list->front().is_number()) {
      Fail(ErrorCode::kBadInput, "{}: {}: expected numbers, found a {}", path, key,
           list->front().type_name());
    }
  }
  // Only these two steer generation; published files do carry padding and separator ids that no token has.
  for (const char* key : {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"}) {
    const auto id = metadata.find(key);
    if (id == metadata.end()) continue;
    if (!id->is_number_integer() || *id < 0 || *id >= tokens->size()) {
      Fail(ErrorCode::kBadInput, "{}: {}: expected a token id below {}, found {}", path, key, tokens->size(),
           ShownJson(*id));
    }
  }
  const auto types = metadata.find("tokenizer.ggml.token_type");
  if (types == metadata.end()) return;
  constexpr int kByteToken = 6;
  for (size_t i = 0; i < tokens->size(); ++i) {
    const auto& token = (*tokens)[i].get_ref<const std::string&>();
    if ((*types)[i] == kByteToken && !IsByteToken(token)) {
      Fail(ErrorCode::kBadInput,
           "{}: tokenizer.ggml.tokens: expected byte token {} to read <0x00> … <0xFF>, found \"{}\"", path, i,
           Printable(token));
    }
  }
}

}  // namespace onecopy
