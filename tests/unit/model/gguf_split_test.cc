#include "runtime/model/gguf.h"
#include "runtime/model/model_spec.h"
#include "tests/unit/model/model_test_support.h"

namespace onecopy {
namespace {

using namespace onecopy::testing;  // NOLINT
using W = GgufWriter;

// TinyMixtral in `count` parts, tensors dealt out in order; metadata in the first, as llama-gguf-split does.
std::vector<W> Split(uint16_t count) {
  const W whole = TinyMixtral();
  std::vector<W> parts(count);
  parts[0].keys = whole.keys;
  for (uint16_t i = 0; i < count; ++i) {
    parts[i].Set("split.no", W::kU16, Raw(i)).Set("split.count", W::kU16, Raw(count));
    parts[i].Set("split.tensors.count", W::kI32, Raw(static_cast<int32_t>(whole.tensors.size())));
  }
  for (size_t i = 0; i < whole.tensors.size(); ++i)
    parts[i * count / whole.tensors.size()].Add(whole.tensors[i]);
  return parts;
}

std::string PartName(size_t part, size_t count) {
  return fmt::format("m-{:05}-of-{:05}.gguf", part + 1, count);
}

std::string WriteParts(const TempDir& dir, const std::vector<W>& parts) {
  for (size_t i = 0; i < parts.size(); ++i) parts[i].Write(dir / PartName(i, parts.size()));
  return dir / PartName(0, parts.size());
}

TEST(GgufSplit, GivesTheWeightsOfTheWholeModel) {
  const TempDir dir;
  TinyMixtral().Write(dir / "whole.gguf");
  const proto::ModelSpec whole = BuildModelSpec(OpenCheckpoint(dir / "whole.gguf"));
  for (const uint16_t count : {2, 3, 13}) {
    std::vector<W> parts = Split(count);
    for (size_t i = 0; i < parts.size(); ++i) {
      for (W::Tensor& tensor : parts[i].tensors)
        tensor.data.assign(tensor.data.size(), static_cast<char>('a' + i));
    }
    const proto::ModelSpec split = BuildModelSpec(OpenCheckpoint(WriteParts(dir, parts)));
    ASSERT_EQ(split.files_size(), count);
    ASSERT_EQ(split.weights_size(), whole.weights_size());
    for (int i = 0; i < split.weights_size(); ++i) {
      const proto::Weight& weight = split.weights(i);
      EXPECT_EQ(weight.name(), whole.weights(i).name());
      EXPECT_EQ(weight.rows(), whole.weights(i).rows());
      // The byte at the offset tells the part that holds the tensor.
      const std::string file = ReadFile(split.files(static_cast<int>(weight.file())));
      EXPECT_EQ(split.file_bytes(static_cast<int>(weight.file())), file.size());
      EXPECT_EQ(file.at(weight.offset()), static_cast<char>('a' + weight.file())) << weight.name();
    }
  }
}

TEST(GgufSplit, TheFirstPartMayHoldNoTensors) {
  const TempDir dir;
  std::vector<W> parts = Split(2);
  for (const W::Tensor& tensor : parts[0].tensors) parts[1].Add(tensor);
  parts[0].tensors.clear();
  EXPECT_EQ(BuildModelSpec(OpenCheckpoint(WriteParts(dir, parts))).weights_size(), 13);
}

TEST(GgufSplit, RefusesIncompleteOrMixedSets) {
  struct Case {
    const char* what;
    std::function<void(std::vector<W>*)> edit;
    std::vector<std::string> fragments;
  };
  const std::vector<Case> cases = {
      {"part numbered twice",
       [](auto* p) { (*p)[2].Set("split.no", W::kU16, Raw<uint16_t>(1)); },
       {PartName(2, 3), "split.no: expected 2, found 1"}},
      {"part without number",
       [](auto* p) { (*p)[1].Drop("split.no"); },
       {PartName(1, 3), "split.no", "found none"}},
      {"part without count",
       [](auto* p) { (*p)[1].Drop("split.count"); },
       {PartName(1, 3), "split.count is missing"}},
      {"another count",
       [](auto* p) { (*p)[1].Set("split.count", W::kU16, Raw<uint16_t>(4)); },
       {PartName(1, 3), "split.count differs", "different models"}},
      {"another architecture",
       [](auto* p) { (*p)[1].Text("general.architecture", "qwen3moe"); },
       {PartName(1, 3), "general.architecture differs", "different models"}},
      {"another number of tensors",
       [](auto* p) { (*p)[1].tensors.pop_back(); },
       {"split.tensors.count: expected 13", "found 12"}},
      {"a tensor in two parts",
       [](auto* p) { (*p)[1].Add((*p)[0].tensors[0]); },
       {PartName(1, 3), "\"token_embd.weight\" is in", PartName(0, 3)}},
      {"a broken part", [](auto* p) { (*p)[1].magic = "GGML"; }, {PartName(1, 3), "not a GGUF file"}},
      {"a count below zero",
       [](auto* p) { (*p)[0].Set("split.count", W::kI32, Raw<int32_t>(-3)); },
       {PartName(0, 3), "split.count", "found -3"}},
      {"a count of 5000000",
       [](auto* p) { (*p)[0].U32("split.count", 5000000); },
       {PartName(0, 3), "5000000"}},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.what);
    const TempDir dir;
    std::vector<W> parts = Split(3);
    one.edit(&parts);
    const std::string first = WriteParts(dir, parts);
    ExpectBadInput([&] { OpenCheckpoint(first); }, one.fragments);
  }
}

TEST(GgufSplit, NamesAMissingPart) {
  const TempDir dir;
  const std::string first = WriteParts(dir, Split(3));
  std::filesystem::remove(dir / PartName(1, 3));
  ExpectBadInput([&] { OpenCheckpoint(first); }, {"expected 3 parts", "part 2", PartName(1, 3), "missing"});
}

TEST(GgufSplit, AsksForTheFirstPart) {
  const TempDir dir;
  WriteParts(dir, Split(3));
  ExpectBadInput([&] { OpenCheckpoint(dir / PartName(2, 3)); },
                 {"part 3 of 3", "name its first file", PartName(0, 3)});
}

TEST(GgufSplit, RefusesARenamedPart) {
  const TempDir dir;
  std::filesystem::rename(WriteParts(dir, Split(2)), dir / "model.gguf");
  ExpectBadInput([&] { OpenCheckpoint(dir / "model.gguf"); },
                 {"model.gguf", "-00001-of-00002.gguf", "rename"});
}

}  // namespace
}  // namespace onecopy
