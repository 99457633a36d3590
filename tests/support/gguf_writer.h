// Writes GGUF files field by field, valid ones and broken ones: every field can be changed before Build().
// Independent of the reader under test; layout as in the GGUF specification v3 (v2 has the same).
#pragma once

#include <cstdint>
#include <cstring>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace onecopy::testing {

// The bytes of a number in little-endian order, and of a string as GGUF has it: length, then characters.
template <typename T>
std::string Raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}
inline std::string RawText(const std::string& text) {
  return Raw<uint64_t>(text.size()) + text;
}

class GgufWriter {
 public:
  // Value types of the specification.
  enum Type : uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kText, kArray, kU64, kI64, kF64 };

  struct Key {
    std::string name;
    uint32_t type;
    std::string bytes;                      // of the value
    std::optional<std::string> raw_name{};  // replaces length and characters of the name
  };
  struct Tensor {
    std::string name;
    std::vector<uint64_t> dims;  // innermost first, as in the file
    uint32_t type;               // GGML number: 0 F32, 1 F16, 2 Q4_0, 8 Q8_0, 12 Q4_K, 30 BF16, …
    std::string data;
    std::optional<uint64_t> offset{};  // default: behind the tensor before it
    std::optional<uint32_t> n_dims{};  // default: dims.size()
  };

  std::string magic = "GGUF";
  uint32_t version = 3;
  std::optional<uint64_t> tensor_count, key_count;
  uint64_t alignment = 32;  // used for layout; general.alignment is a key of its own
  std::vector<Key> keys;
  std::vector<Tensor> tensors;

  // Replaces the key, or adds it at the end.
  GgufWriter& Set(const std::string& name, uint32_t type, std::string bytes) {
    for (Key& key : keys) {
      if (key.name != name) continue;
      key.type = type;
      key.bytes = std::move(bytes);
      return *this;
    }
    keys.push_back({name, type, std::move(bytes)});
    return *this;
  }
  GgufWriter& U32(const std::string& name, uint32_t value) { return Set(name, kU32, Raw(value)); }
  GgufWriter& F32(const std::string& name, float value) { return Set(name, kF32, Raw(value)); }
  GgufWriter& Flag(const std::string& name, bool value) {
    return Set(name, kBool, Raw<uint8_t>(value ? 1 : 0));
  }
  GgufWriter& Text(const std::string& name, const std::string& value) {
    return Set(name, kText, RawText(value));
  }
  // bytes: the elements, one after another.
  GgufWriter& Array(const std::string& name, uint32_t type, uint64_t count, const std::string& bytes) {
    return Set(name, kArray, Raw(type) + Raw(count) + bytes);
  }
  GgufWriter& Texts(const std::string& name, const std::vector<std::string>& values) {
    std::string bytes;
    for (const std::string& value : values) bytes += RawText(value);
    return Array(name, kText, values.size(), bytes);
  }
  template <typename T>
  GgufWriter& Numbers(const std::string& name, uint32_t type, const std::vector<T>& values) {
    std::string bytes;
    for (const T value : values) bytes += Raw(value);
    return Array(name, type, values.size(), bytes);
  }
  GgufWriter& Drop(const std::string& name) {
    std::erase_if(keys, [&](const Key& key) { return key.name == name; });
    return *this;
  }

  GgufWriter& Add(Tensor tensor) {
    tensors.push_back(std::move(tensor));
    return *this;
  }
  // The tensor must be there.
  Tensor& At(const std::string& name) {
    for (Tensor& tensor : tensors) {
      if (tensor.name == name) return tensor;
    }
    std::abort();
  }
  GgufWriter& DropTensor(const std::string& name) {
    std::erase_if(tensors, [&](const Tensor& tensor) { return tensor.name == name; });
    return *this;
  }

  std::string Header() const {
    std::string out = magic + Raw(version) + Raw(tensor_count.value_or(tensors.size())) +
                      Raw(key_count.value_or(keys.size()));
    for (const Key& key : keys) out += key.raw_name.value_or(RawText(key.name)) + Raw(key.type) + key.bytes;
    uint64_t at = 0;
    for (const Tensor& tensor : tensors) {
      out += RawText(tensor.name) + Raw(tensor.n_dims.value_or(static_cast<uint32_t>(tensor.dims.size())));
      for (const uint64_t dim : tensor.dims) out += Raw(dim);
      out += Raw(tensor.type) + Raw(tensor.offset.value_or(at));
      at += Padded(tensor.data.size());
    }
    return out;
  }

  std::string Build() const {
    std::string out = Header();
    out.resize(Padded(out.size()));
    for (const Tensor& tensor : tensors) {
      out += tensor.data;
      out.resize(out.size() + Padded(tensor.data.size()) - tensor.data.size());
    }
    return out;
  }

  void Write(const std::string& path) const {
    std::ofstream file(path, std::ios::binary);
    const std::string bytes = Build();
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

 private:
  uint64_t Padded(uint64_t bytes) const { return (bytes + alignment - 1) / alignment * alignment; }
};

// A one-layer Mixtral (GGUF's architecture llama): hidden 32, 2 heads of 16, 1 KV head, 4 experts of 32, of
// which 2, 32 tokens; matrices F16, vectors and router F32. Weights are all zero.
inline GgufWriter TinyMixtral() {
  constexpr uint64_t kHidden = 32, kExperts = 4, kVocab = 32;
  GgufWriter gguf;
  gguf.Text("general.architecture", "llama").U32("llama.block_count", 1).U32("llama.context_length", 64);
  gguf.U32("llama.embedding_length", kHidden).U32("llama.feed_forward_length", kHidden);
  gguf.U32("llama.attention.head_count", 2).U32("llama.attention.head_count_kv", 1);
  gguf.F32("llama.attention.layer_norm_rms_epsilon", 1e-5f).F32("llama.rope.freq_base", 10000.0f);
  gguf.U32("llama.rope.dimension_count", 16)
      .U32("llama.expert_count", kExperts)
      .U32("llama.expert_used_count", 2);
  gguf.U32("llama.vocab_size", kVocab).Text("tokenizer.ggml.model", "llama");
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  while (tokens.size() < kVocab) tokens.push_back("t" + std::to_string(tokens.size()));
  std::vector<int32_t> types(kVocab, 1);
  types[0] = 2;
  types[1] = types[2] = 3;
  gguf.Texts("tokenizer.ggml.tokens", tokens);
  gguf.Numbers("tokenizer.ggml.scores", GgufWriter::kF32, std::vector<float>(kVocab, 0.0f));
  gguf.Numbers("tokenizer.ggml.token_type", GgufWriter::kI32, types);
  gguf.U32("tokenizer.ggml.bos_token_id", 1).U32("tokenizer.ggml.eos_token_id", 2);

  const auto add = [&](const std::string& name, std::vector<uint64_t> dims, uint32_t type) {
    uint64_t elements = 1;
    for (const uint64_t dim : dims) elements *= dim;
    gguf.Add({name, std::move(dims), type, std::string(elements * (type == 0 ? 4 : 2), '\0')});
  };
  add("token_embd.weight", {kHidden, kVocab}, 1);
  add("output_norm.weight", {kHidden}, 0);
  add("output.weight", {kHidden, kVocab}, 1);
  add("blk.0.attn_norm.weight", {kHidden}, 0);
  add("blk.0.ffn_norm.weight", {kHidden}, 0);
  add("blk.0.attn_q.weight", {kHidden, kHidden}, 1);
  add("blk.0.attn_k.weight", {kHidden, kHidden / 2}, 1);
  add("blk.0.attn_v.weight", {kHidden, kHidden / 2}, 1);
  add("blk.0.attn_output.weight", {kHidden, kHidden}, 1);
  add("blk.0.ffn_gate_inp.weight", {kHidden, kExperts}, 0);
  for (const char* part : {"gate", "up", "down"}) {
    add(std::string("blk.0.ffn_") + part + "_exps.weight", {kHidden, kHidden, kExperts}, 1);
  }
  return gguf;
}

}  // namespace onecopy::testing
