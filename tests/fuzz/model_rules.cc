#include "tests/fuzz/model_rules.h"

#include <algorithm>

#include "kernels/types.h"
#include "runtime/base/check.h"
#include "runtime/base/printable.h"
#include "runtime/model/model_spec.h"
#include "runtime/model/summary.h"

namespace onecopy::fuzz {

void CheckTensors(const Checkpoint& checkpoint) {
  Require(checkpoint.files.size() == checkpoint.file_bytes.size(), "files without a size");
  std::vector<const TensorInfo*> tensors;
  for (const TensorInfo& tensor : checkpoint.tensors) {
    const auto end = CheckedAdd(tensor.offset, tensor.bytes);
    Require(tensor.file < checkpoint.files.size() && end && *end <= checkpoint.file_bytes[tensor.file],
            "tensor {} lies outside of its file", Printable(tensor.name));
    Require(checkpoint.Find(tensor.name) == &tensor, "tensor {} is not found", Printable(tensor.name));
    tensors.push_back(&tensor);
  }
  std::sort(tensors.begin(), tensors.end(), [](const TensorInfo* a, const TensorInfo* b) {
    return std::tie(a->file, a->offset, a->bytes) < std::tie(b->file, b->offset, b->bytes);
  });
  for (size_t i = 1; i < tensors.size(); ++i)
    Require(tensors[i - 1]->file != tensors[i]->file ||
                tensors[i - 1]->offset + tensors[i - 1]->bytes <= tensors[i]->offset,
            "tensors {} and {} overlap", Printable(tensors[i - 1]->name), Printable(tensors[i]->name));
}

void CheckModel(const Checkpoint& checkpoint) {
  proto::ModelSpec spec;
  if (!Takes([&] { spec = BuildModelSpec(checkpoint); }, checkpoint.path)) return;
  Require(spec.n_layers() > 0 && spec.hidden_dim() > 0 && spec.vocab_size() > 0, "a model of no size");
  for (const proto::Weight& weight : spec.weights()) {
    Require(weight.rows() > 0 && weight.cols() > 0, "{} has no elements", Printable(weight.name()));
    Require(weight.file() < static_cast<uint32_t>(spec.files_size()), "{} is in no file",
            Printable(weight.name()));
    for (const proto::Weight::Part& part : weight.parts())
      Require(part.file() < static_cast<uint32_t>(spec.files_size()) &&
                  part.offset() <= spec.file_bytes(static_cast<int>(part.file())),
              "a part of {} lies outside of its file", Printable(weight.name()));
    const uint64_t file_bytes = spec.file_bytes(static_cast<int>(weight.file()));
    Require(weight.offset() <= file_bytes, "{} lies outside of its file", Printable(weight.name()));
    if (weight.layout() != proto::Weight::ROWS || weight.parts_size() > 0) continue;
    const auto type = static_cast<kernels::WeightType>(weight.type());
    const uint64_t row = kernels::RowBytes(kernels::Info(type), weight.cols());
    const auto bytes = CheckedMul(row, weight.rows());
    Require(bytes && weight.offset() + *bytes <= file_bytes, "{} ends outside of its file",
            Printable(weight.name()));
  }
}

void CheckTokenizer(const std::function<text::Tokenizer()>& make, std::string_view text) {
  std::optional<text::Tokenizer> tokenizer;
  if (!Takes([&] { tokenizer.emplace(make()); })) return;
  for (const std::string_view sample :
       {text, std::string_view("Hello  world\n\t<s>1234 äöü\xF0\x9F\xA6\x99\xFF don't </s>")}) {
    for (const bool special : {false, true}) {
      std::vector<int32_t> ids;
      if (!Takes(
              [&] { ids = tokenizer->Encode(sample, {.add_special = special, .parse_special = special}); }))
        continue;
      for (const int32_t id : ids)
        Require(id >= 0 && id < tokenizer->vocab_size(), "token {} of {}", id, tokenizer->vocab_size());
      Require(IsUtf8(tokenizer->Decode(ids, special)), "decoded to something that is no text");
    }
  }
  Require(tokenizer->Piece(-1).empty() && tokenizer->Piece(tokenizer->vocab_size()).empty(),
          "an id that does not exist has a piece");
}

}  // namespace onecopy::fuzz
