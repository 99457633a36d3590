// A GGUF file: headers, vocabulary, the model in it, and the file that `quantize` would write from it.
#include "runtime/base/check.h"
#include "runtime/model/describe.h"
#include "runtime/model/gguf.h"
#include "runtime/model/gguf_writer.h"
#include "tests/fuzz/gguf_mutator.h"
#include "tests/fuzz/model_rules.h"

namespace onecopy::fuzz {
namespace {

// What the writer makes of it has the same tensors and the same metadata but for what it says of itself.
void CheckWrittenAgain(const Checkpoint& checkpoint) {
  std::vector<GgufOutputTensor> tensors;
  for (const TensorInfo& tensor : checkpoint.tensors)
    tensors.push_back({tensor.name, tensor.shape, tensor.info});
  const GgufLayout layout = LayOutGguf(CarryOverPairs(checkpoint, 7), std::move(tensors));
  static MemoryFile file;
  file.Write(layout.header);
  GgufFile again;
  Require(Takes([&] { again = ReadGgufFile(file.path(), Data::kMayBeAbsent); }),
          "a file that was written is refused");
  Require(again.tensors.size() == checkpoint.tensors.size(), "{} tensors became {}",
          checkpoint.tensors.size(), again.tensors.size());
  for (size_t i = 0; i < again.tensors.size(); ++i) {
    const TensorInfo &before = checkpoint.tensors[i], &after = again.tensors[i];
    Require(before.name == after.name && before.shape == after.shape && before.info == after.info &&
                before.bytes == after.bytes,
            "tensor {} changed when it was written", i);
  }
  nlohmann::json expected = checkpoint.metadata;
  for (nlohmann::json* metadata : {&expected, &again.metadata})
    for (auto it = metadata->begin(); it != metadata->end();)
      it = it.key().starts_with("split.") || it.key() == "general.file_type" ||
                   it.key() == "general.quantization_version"
               ? metadata->erase(it)
               : std::next(it);
  // NaN is not equal to itself.
  Require(expected.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) ==
              again.metadata.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace),
          "metadata changed when it was written");
}

}  // namespace
}  // namespace onecopy::fuzz

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
  if (seed % 4 != 0)
    if (const size_t mutated = onecopy::fuzz::MutateGguf(data, size, max_size, seed)) return mutated;
  return LLVMFuzzerMutate(data, size, max_size);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onecopy;        // NOLINT
  using namespace onecopy::fuzz;  // NOLINT
  static MemoryFile file;
  file.Write(View(data, size));
  const Budget budget(4, (16 << 20) + 1000 * size);
  Checkpoint checkpoint;
  if (!Takes([&] { checkpoint = OpenGguf(file.path(), Data::kMayBeAbsent); }, file.path())) return 0;
  CheckTensors(checkpoint);
  DescribeAsText(checkpoint);
  DescribeAsJson(checkpoint).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  CheckWrittenAgain(checkpoint);
  CheckModel(checkpoint);
  CheckTokenizer([&] { return text::Tokenizer::FromGguf(checkpoint.metadata); });
  return 0;
}
