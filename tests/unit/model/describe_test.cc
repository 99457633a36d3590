#include "runtime/model/describe.h"

#include "runtime/base/printable.h"
#include "tests/unit/model/model_test_support.h"

namespace onecopy {
namespace {

using namespace onecopy::testing;  // NOLINT
using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::Not;

Checkpoint Open(const GgufWriter& gguf) {
  const TempDir dir;
  gguf.Write(dir / "m.gguf");
  return OpenCheckpoint(dir / "m.gguf");
}

TEST(Describe, TextListsMetadataAndTensorsInColumns) {
  const std::string text = DescribeAsText(Open(TinyMixtral()));
  EXPECT_THAT(text, HasSubstr("m.gguf: GGUF, 1 file, 13 tensors\n"));
  EXPECT_THAT(text, HasSubstr("  llama.attention.layer_norm_rms_epsilon  1e-05\n"));
  EXPECT_THAT(text,
              HasSubstr("  tokenizer.ggml.tokens                   [<unk>, <s>, </s>, t3, t4, t5, t6, t7, …] "
                        "(32 elements)\n"));
  EXPECT_THAT(text, HasSubstr("  name                        type  shape        bytes  file  offset\n"));
  EXPECT_THAT(text, HasSubstr("  blk.0.ffn_gate_exps.weight  F16   [4, 32, 32]  8192   0     "));
}

TEST(Describe, TextShowsNoControlCharactersOfTheFile) {
  GgufWriter gguf = TinyMixtral();
  gguf.Text("general.name", "a\033]0;b\007\nc")
      .Texts("list", {"\033[2J"})
      .Text("long", std::string(100000, 'x'));
  const std::string text = DescribeAsText(Open(gguf));
  EXPECT_EQ(text.find('\033'), std::string::npos);
  EXPECT_THAT(text, HasSubstr("a\\x1b]0;b\\x07\\x0ac"));
  EXPECT_LT(text.size(), 10000u);
}

TEST(Describe, JsonHoldsEverythingAndShortensLists) {
  GgufWriter gguf = TinyMixtral();
  gguf.Text("general.name", "caf\xC3\xA9 \xFF");
  const Checkpoint checkpoint = Open(gguf);
  const json described =
      json::parse(DescribeAsJson(checkpoint).dump(1, ' ', false, json::error_handler_t::replace));
  EXPECT_EQ(described["format"], "GGUF");
  EXPECT_EQ(described["files"][0]["bytes"], checkpoint.file_bytes[0]);
  EXPECT_EQ(described["metadata"]["llama.expert_count"], 4);
  EXPECT_EQ(described["metadata"]["tokenizer.ggml.scores"],
            json({{"length", 32}, {"first", std::vector<double>(8, 0.0)}}));
  ASSERT_EQ(described["tensors"].size(), 13u);
  EXPECT_EQ(described["tensors"][10]["name"], "blk.0.ffn_gate_exps.weight");
  EXPECT_EQ(described["tensors"][10]["shape"], json({4, 32, 32}));
  EXPECT_EQ(described["tensors"][10]["type"], "F16");
  EXPECT_EQ(described["tensors"][10]["bytes"], 8192);
  EXPECT_EQ(described["tensors"][10]["offset"], checkpoint.tensors[10].offset);
}

TEST(Describe, DirectoriesShowTheirConfig) {
  const Checkpoint checkpoint = OpenCheckpoint(DataPath("goldens/qwen3_moe"));
  EXPECT_EQ(DescribeAsJson(checkpoint)["metadata"], checkpoint.metadata);
  EXPECT_THAT(DescribeAsText(checkpoint), HasSubstr("Hugging Face, 1 file, "));
}

TEST(Printable, EscapesWhatATerminalWouldObey) {
  EXPECT_EQ(Printable("größe 漢字 🙂"), "größe 漢字 🙂");
  EXPECT_EQ(Printable("a\tb\x7F"), "a\\x09b\\x7f");
  EXPECT_EQ(Printable("\xC2\x9B"
                      "2J"),
            "\\xc2\\x9b2J");  // CSI as one character
  EXPECT_EQ(Printable("abcdef", 3), "abc…");
  EXPECT_EQ(Printable("abc", 3), "abc");
}

TEST(Utf8, AgreesWithTheStandardOnItsBoundaries) {
  for (const char* good : {"", "a", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
                           "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_TRUE(IsUtf8(good)) << Printable(good);
  }
  for (const char* bad :
       {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2\x41", "\xE0\x9F\xBF", "\xED\xA0\x80",
        "\xE2\x82", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xFF"}) {
    EXPECT_FALSE(IsUtf8(bad)) << Printable(bad);
  }
}

}  // namespace
}  // namespace onecopy
