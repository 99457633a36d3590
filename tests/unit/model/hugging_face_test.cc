// Model directories: JSON files and the index of shards.
#include "runtime/model/checkpoint.h"
#include "runtime/model/json_file.h"
#include "tests/unit/model/model_test_support.h"

namespace onecopy {
namespace {

using namespace onecopy::testing;  // NOLINT
using nlohmann::json;

TEST(JsonFile, ParsesWhatNlohmannParses) {
  const std::string text =
      R"( {"a":[1,-2,3.5,true,false,null,"ü"],"b":{"c":{}},"d":[[],[[1]]],"e":18446744073709551615} )";
  EXPECT_EQ(ParseJson(text, "f"), json::parse(text));
  EXPECT_EQ(ParseJson("7", "f"), 7);
}

TEST(JsonFile, RefusesDuplicatesDepthAndNoise) {
  const auto refused = [](const std::string& text, const std::vector<std::string>& fragments) {
    ExpectBadInput([&] { ParseJson(text, "f.json"); }, fragments);
  };
  refused(R"({"a":1,"b":{"x":1,"x":2}})", {"f.json", "\"x\"", "twice"});
  refused(std::string(65, '[') + std::string(65, ']'), {"f.json", "deeper than 64 levels"});
  refused(std::string(1'000'000, '['), {"deeper than 64 levels"});
  refused(R"({"a":1,})", {"f.json: byte 8: not valid JSON", "expected string literal"});
  refused("", {"f.json: byte 1: not valid JSON"});
  refused("{} x", {"f.json: byte 4"});
  refused("\"\xC0\x80\"", {"f.json: byte 2", "UTF-8"});
  refused("[1e999]", {"f.json: byte 6", "number overflow"});
  EXPECT_NO_THROW(ParseJson(std::string(64, '[') + std::string(64, ']'), "f.json"));
}

TEST(JsonFile, RefusesFilesAboveTheLimit) {
  const TempDir dir;
  WriteFile(dir / "f.json", "[]");
  std::filesystem::resize_file(dir / "f.json", kMaxJsonBytes + 1);
  ExpectBadInput([&] { ReadJsonObject(dir / "f.json"); },
                 {"f.json", "at most 268435456 bytes, found 268435457"});
}

TEST(HuggingFace, OpensTheGoldenDirectory) {
  const Checkpoint checkpoint = OpenCheckpoint(DataPath("goldens/qwen3_moe"));
  EXPECT_EQ(checkpoint.format, CheckpointFormat::kHuggingFace);
  EXPECT_EQ(checkpoint.metadata, ReadJson(DataPath("goldens/qwen3_moe/config.json")));
  EXPECT_EQ(checkpoint.tokenizer, ReadJson(DataPath("goldens/qwen3_moe/tokenizer.json")));
  EXPECT_EQ(checkpoint.tokenizer_config, ReadJson(DataPath("goldens/qwen3_moe/tokenizer_config.json")));
  EXPECT_TRUE(checkpoint.generation_config.is_null());
  ASSERT_EQ(checkpoint.files.size(), 1u);
  EXPECT_EQ(checkpoint.file_bytes[0],
            std::filesystem::file_size(DataPath("goldens/qwen3_moe/model.safetensors")));
  const TensorInfo* q = checkpoint.Find("model.layers.1.self_attn.q_proj.weight");
  ASSERT_NE(q, nullptr);
  EXPECT_THAT(q->shape, ::testing::ElementsAre(512, 256));
  EXPECT_EQ(checkpoint.Find("model.layers.2.self_attn.q_proj.weight"), nullptr);
}

TEST(HuggingFace, TakesTheChatTemplateFile) {
  const Checkpoint checkpoint = OpenCheckpoint(ONECOPY_TEST_TINY_MOE);
  EXPECT_EQ(checkpoint.tokenizer_config.at("chat_template"),
            ReadFile(ONECOPY_TEST_TINY_MOE "/chat_template.jinja"));
  EXPECT_EQ(checkpoint.generation_config, ReadJson(ONECOPY_TEST_TINY_MOE "/generation_config.json"));
}

TEST(HuggingFace, OpensADirectoryWithoutTokenizer) {
  const Checkpoint checkpoint =
      OpenCheckpoint(DataPath("goldens/qwen3_moe_nonorm"));  // its weights are a symbolic link
  EXPECT_TRUE(checkpoint.tokenizer.is_null());
  EXPECT_TRUE(checkpoint.tokenizer_config.is_null());
  EXPECT_EQ(checkpoint.tensors.size(), OpenCheckpoint(DataPath("goldens/qwen3_moe")).tensors.size());
}

// The valid golden in three shards.
json WriteShards(const TempDir& dir) {
  const Checkpoint whole = OpenCheckpoint(DataPath("goldens/malformed/valid"));
  const std::string bytes = ReadFile(whole.files[0]);
  std::vector<SafetensorsWriter> shards(3);
  std::vector<std::string> data(3);
  json index = {{"metadata", {{"total_size", 1}}}, {"weight_map", json::object()}};
  for (size_t i = 0; i < whole.tensors.size(); ++i) {
    const TensorInfo& tensor = whole.tensors[i];
    shards[i % 3].Add(tensor.name, tensor.type_name, tensor.shape);
    data[i % 3] += bytes.substr(tensor.offset, tensor.bytes);
    index["weight_map"][tensor.name] = fmt::format("model-{:05}-of-00003.safetensors", i % 3 + 1);
  }
  for (size_t i = 0; i < 3; ++i) {
    WriteFile(dir / fmt::format("model-{:05}-of-00003.safetensors", i + 1),
              SafetensorsWriter::Bytes(shards[i].header.dump(), data[i]));
  }
  WriteFile(dir / "config.json", whole.metadata.dump());
  WriteFile(dir / "model.safetensors.index.json", index.dump());
  return index;
}

TEST(HuggingFace, FindsEachTensorInItsShard) {
  const TempDir dir;
  WriteShards(dir);
  const Checkpoint whole = OpenCheckpoint(DataPath("goldens/malformed/valid"));
  const std::string bytes = ReadFile(whole.files[0]);
  const Checkpoint sharded = OpenCheckpoint(dir.path());
  ASSERT_EQ(sharded.files.size(), 3u);
  EXPECT_EQ(sharded.tensors.size(), whole.tensors.size());
  for (const TensorInfo& tensor : whole.tensors) {
    const TensorInfo* found = sharded.Find(tensor.name);
    ASSERT_NE(found, nullptr);
    EXPECT_EQ(ReadFile(sharded.files[found->file]).substr(found->offset, found->bytes),
              bytes.substr(tensor.offset, tensor.bytes));
  }
}

TEST(HuggingFace, RefusesABrokenIndex) {
  const TempDir dir;
  const json index = WriteShards(dir);
  const std::string first = index["weight_map"].begin().key();
  const auto refused = [&](const json& changed, std::vector<std::string> fragments) {
    WriteFile(dir / "model.safetensors.index.json", changed.dump());
    fragments.push_back("model.safetensors.index.json");
    ExpectBadInput([&] { OpenCheckpoint(dir.path()); }, fragments);
  };
  for (const char* name : {"../model-00001-of-00003.safetensors", "/etc/passwd", "", ".", "..",
                           "sub/x.safetensors", "a\nb", "x\u001b[2J"}) {
    json changed = index;
    changed["weight_map"][first] = name;
    refused(changed, {"files in the same directory"});
  }
  json changed = index;
  changed["weight_map"][first] = 7;
  refused(changed, {"expected a file name for", "number"});
  changed["weight_map"][first] = "absent.safetensors";
  refused(changed, {"absent.safetensors, which is not there"});
  changed = index;
  changed["weight_map"]["nosuch.weight"] = "model-00001-of-00003.safetensors";
  refused(changed, {"\"nosuch.weight\"", "does not have it"});
  changed = index;
  changed["weight_map"][first] = index["weight_map"][first] == "model-00001-of-00003.safetensors"
                                     ? "model-00002-of-00003.safetensors"
                                     : "model-00001-of-00003.safetensors";
  refused(changed, {first, "does not have it"});
  refused(json::object(), {"weight_map"});
  refused({{"weight_map", json::array()}}, {"weight_map"});
  refused({{"weight_map", json::object()}}, {"expected tensors, found none"});
  refused(json::array(), {"expected a JSON object"});
}

TEST(HuggingFace, RefusesATensorInTwoShards) {
  const TempDir dir;
  WriteShards(dir);
  std::filesystem::copy_file(dir / "model-00001-of-00003.safetensors",
                             dir / "model-00002-of-00003.safetensors",
                             std::filesystem::copy_options::overwrite_existing);
  ExpectBadInput([&] { OpenCheckpoint(dir.path()); },
                 {"model-00002-of-00003.safetensors: tensor", "is in", "too"});
}

TEST(Checkpoint, ExplainsWhatToName) {
  ExpectBadInput([] { OpenCheckpoint(DataPath("goldens/qwen3_moe/model.safetensors")); },
                 {"name its directory", DataPath("goldens/qwen3_moe")});
  ExpectBadInput([] { OpenCheckpoint(DataPath("goldens/gguf")); }, {"config.json", "named by its file"});
  ExpectBadInput([] { OpenCheckpoint(DataPath("nosuch.gguf")); },
                 {"nosuch.gguf: cannot be opened: No such file"});
  ExpectBadInput([] { OpenCheckpoint(""); }, {"cannot be opened"});
}

}  // namespace
}  // namespace onecopy
