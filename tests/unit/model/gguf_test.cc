// GGUF rules that the malformed goldens lack, and the limits of time.
#include "runtime/model/gguf.h"

#include <cmath>
#include <limits>

#include "kernels/types.h"
#include "runtime/model/model_spec.h"
#include "tests/support/processor_time.h"
#include "tests/unit/model/model_test_support.h"

namespace onecopy {
namespace {

using namespace onecopy::testing;  // NOLINT
using W = GgufWriter;

GgufFile ReadBytes(const std::string& bytes) {
  const TempDir dir;
  WriteFile(dir / "m.gguf", bytes);
  return ReadGgufFile(dir / "m.gguf");
}

void ExpectGgufRefused(const std::string& bytes, const std::vector<std::string>& fragments) {
  std::vector<std::string> all = fragments;
  all.push_back("m.gguf: ");
  ExpectBadInput([&] { ReadBytes(bytes); }, all);
}

TEST(GgufReader, KeepsTheKindOfEveryMetadataType) {
  W gguf;
  gguf.Set("u8", W::kU8, Raw<uint8_t>(255)).Set("i8", W::kI8, Raw<int8_t>(-128));
  gguf.Set("u16", W::kU16, Raw<uint16_t>(65535)).Set("i16", W::kI16, Raw<int16_t>(-32768));
  gguf.Set("u32", W::kU32, Raw<uint32_t>(UINT32_MAX)).Set("i32", W::kI32, Raw<int32_t>(INT32_MIN));
  gguf.Set("u64", W::kU64, Raw<uint64_t>(UINT64_MAX)).Set("i64", W::kI64, Raw<int64_t>(INT64_MIN));
  gguf.F32("f32", 1e-6f)
      .Set("f64", W::kF64, Raw(0.1))
      .Flag("yes", true)
      .Flag("no", false)
      .Text("text", "größer");
  gguf.Texts("texts", {"a", "", "c"}).Numbers<int32_t>("numbers", W::kI32, {-1, 2});
  gguf.Array("flags", W::kBool, 2, std::string("\1\0", 2)).Array("nothing", W::kF32, 0, "");
  const nlohmann::json read = ReadBytes(gguf.Build()).metadata;
  const nlohmann::json expected = {{"u8", 255u},
                                   {"i8", -128},
                                   {"u16", 65535u},
                                   {"i16", -32768},
                                   {"u32", UINT32_MAX},
                                   {"i32", INT32_MIN},
                                   {"u64", UINT64_MAX},
                                   {"i64", INT64_MIN},
                                   {"f32", 1e-6f},
                                   {"f64", 0.1},
                                   {"yes", true},
                                   {"no", false},
                                   {"text", "größer"},
                                   {"texts", {"a", "", "c"}},
                                   {"numbers", {-1, 2}},
                                   {"flags", {true, false}},
                                   {"nothing", nlohmann::json::array()}};
  EXPECT_EQ(read, expected);
  EXPECT_TRUE(read["u8"].is_number_unsigned());
  EXPECT_TRUE(read["i32"].is_number_integer());
  EXPECT_TRUE(read["f32"].is_number_float());
  EXPECT_TRUE(read["yes"].is_boolean());
}

TEST(GgufReader, PlacesTensorsBehindThePaddedHeader) {
  for (const uint32_t version : {2u, 3u}) {
    for (const uint64_t alignment : {8, 32, 4096}) {
      W gguf = TinyMixtral();
      gguf.version = version;
      gguf.alignment = alignment;
      gguf.U32("general.alignment", static_cast<uint32_t>(alignment));
      gguf.At("blk.0.attn_q.weight").data = std::string(2048, 'q');
      const std::string bytes = gguf.Build();
      const GgufFile file = ReadBytes(bytes);
      ASSERT_EQ(file.tensors.size(), gguf.tensors.size());
      EXPECT_EQ(file.bytes, bytes.size());
      const TensorInfo& q = file.tensors[5];
      EXPECT_EQ(q.name, "blk.0.attn_q.weight");
      EXPECT_EQ(q.bytes, 2048u);
      EXPECT_EQ(bytes.substr(q.offset, q.bytes), std::string(2048, 'q'));
      EXPECT_NE(bytes[q.offset - 1], 'q');
      EXPECT_THAT(file.tensors[10].shape, ::testing::ElementsAre(4, 32, 32));
      EXPECT_THAT(file.tensors[9].shape, ::testing::ElementsAre(4, 32));  // the router: [experts, hidden]
    }
  }
}

TEST(GgufReader, ReadsEveryPublishedVocabulary) {
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(ONECOPY_TEST_TOKENIZERS)) {
    if (entry.path().extension() != ".gguf") continue;
    const Checkpoint checkpoint = OpenCheckpoint(entry.path().string());
    EXPECT_GT(checkpoint.metadata.at("tokenizer.ggml.tokens").size(), 30000u) << entry.path();
    ExpectBadInput([&] { BuildModelSpec(checkpoint); }, {entry.path().string(), "vocabulary only"});
    ++files;
  }
  EXPECT_GE(files, 3u);
}

struct Broken {
  const char* what;
  std::function<void(W*)> edit;
  std::vector<std::string> fragments;
};

TEST(GgufReader, RefusesBrokenHeadersNamingTheField) {
  const std::string nan = Raw(std::numeric_limits<float>::quiet_NaN());
  const std::vector<Broken> cases = {
      {"version 0", [](W* w) { w->version = 0; }, {"version 2 or 3, found 0"}},
      {"version 1", [](W* w) { w->version = 1; }, {"version 2 or 3, found 1"}},
      {"big-endian", [](W* w) { w->version = 3u << 24; }, {"big-endian"}},
      {"tensor count negative as i64",
       [](W* w) { w->tensor_count = UINT64_MAX; },
       {"18446744073709551615 tensors"}},
      {"tensor count a little high", [](W* w) { w->tensor_count = w->tensors.size() + 1; }, {"tensor 13"}},
      {"key count a little high",
       [](W* w) { w->key_count = w->keys.size() + 1; },
       {"expected a name of 1 to 64 bytes"}},
      {"empty key", [](W* w) { w->keys[0].raw_name = Raw<uint64_t>(0); }, {"metadata key 0", "empty"}},
      {"long key",
       [](W* w) { w->keys[0].name = std::string(65536, 'k'); },
       {"at most 65535 bytes, found 65536"}},
      {"NUL in key", [](W* w) { w->keys[0].name = std::string("a\0b", 3); }, {"\"a\\x00b\" has a NUL"}},
      {"key not UTF-8", [](W* w) { w->keys[0].name = "a\xC0\x80"; }, {"\"a\\xc0\\x80\" is not UTF-8"}},
      {"duplicate key",
       [](W* w) { w->keys.push_back(w->keys[1]); },
       {"\"llama.block_count\"", "there twice"}},
      {"bool of 2", [](W* w) { w->Set("flag", W::kBool, "\2"); }, {"\"flag\"", "0 or 1 for a bool, found 2"}},
      {"bool of 2 in an array",
       [](W* w) { w->Array("flags", W::kBool, 2, "\1\2"); },
       {"\"flags\"", "found 2"}},
      {"value type 13", [](W* w) { w->Set("k", 13, ""); }, {"\"k\"", "from 0 to 12, found 13"}},
      {"array of unknown type", [](W* w) { w->Array("k", 99, 1, "x"); }, {"\"k\"", "found 99"}},
      {"array longer than the file",
       [](W* w) { w->Array("k", W::kU8, 1 << 30, "x"); },
       {"\"k\"", "1073741824 array elements", "bytes left"}},
      {"array of strings longer than the file",
       [](W* w) { w->Array("k", W::kText, 1 << 20, "x"); },
       {"\"k\"", "1048576 array elements of at least 8 bytes"}},
      {"array count that overflows",
       [](W* w) { w->Array("k", W::kU64, 1ull << 61, "x"); },
       {"\"k\"", "2305843009213693952 array elements"}},
      {"string in an array past the end",
       [](W* w) { w->Array("k", W::kText, 1, Raw<uint64_t>(1ull << 63)); },
       {"\"k\"", "9223372036854775808 characters"}},
      {"alignment 0", [](W* w) { w->U32("general.alignment", 0); }, {"general.alignment", "found 0"}},
      {"alignment 48", [](W* w) { w->U32("general.alignment", 48); }, {"general.alignment", "found 48"}},
      {"alignment 0x80000000",
       [](W* w) { w->U32("general.alignment", 1u << 31); },
       {"general.alignment", "found 2147483648"}},
      {"alignment 2 MB",
       [](W* w) { w->U32("general.alignment", 2 << 20); },
       {"general.alignment", "1048576"}},
      {"alignment -32", [](W* w) { w->Set("general.alignment", W::kI32, Raw<int32_t>(-32)); }, {"found -32"}},
      {"alignment a string", [](W* w) { w->Text("general.alignment", "32"); }, {"general.alignment"}},
      {"alignment a float", [&](W* w) { w->Set("general.alignment", W::kF32, nan); }, {"general.alignment"}},
      {"tensor name empty", [](W* w) { w->tensors[0].name = ""; }, {"tensor 0", "1 to 64 bytes, found 0"}},
      {"tensor name long",
       [](W* w) { w->tensors[0].name = std::string(65, 'n'); },
       {"1 to 64 bytes, found 65"}},
      {"tensor name not UTF-8", [](W* w) { w->tensors[0].name = "\xFF"; }, {"\"\\xff\"", "not UTF-8"}},
      {"no dimensions", [](W* w) { w->tensors[0].n_dims = 0; }, {"1 to 4 dimensions, found 0"}},
      {"dimension -1", [](W* w) { w->tensors[0].dims[1] = UINT64_MAX; }, {"dimension 1", "found -1"}},
      {"row of half a block",
       [](W* w) { w->At("output.weight").type = 12; },
       {"\"output.weight\"", "whole Q4_K blocks", "found 32"}},
      {"bytes that wrap",
       [](W* w) {
         w->At("output.weight").dims = {1ull << 32, 1ull << 30};
       },
       {"\"output.weight\""}},
      {"offset that wraps",
       [](W* w) { w->At("output.weight").offset = UINT64_MAX - 31; },
       {"\"output.weight\"", "ends beyond the file"}},
      {"overlap by one alignment",
       [](W* w) { w->At("output_norm.weight").offset = 2048 - 32; },
       {"\"token_embd.weight\" and \"output_norm.weight\" overlap"}},
  };
  for (const Broken& broken : cases) {
    SCOPED_TRACE(broken.what);
    W gguf = TinyMixtral();
    broken.edit(&gguf);
    ExpectGgufRefused(gguf.Build(), broken.fragments);
  }
}

TEST(GgufReader, RefusesTypesThatTheFormatRemoved) {
  for (const uint32_t type : {4, 5, 31, 32, 33, 36, 37, 38, 100}) {
    W gguf = TinyMixtral();
    gguf.At("output.weight").type = type;
    ExpectGgufRefused(gguf.Build(),
                      {"tensor \"output.weight\"", fmt::format("GGML type {} is unknown", type)});
  }
}

TEST(GgufReader, RefusesAFileCutAnywhere) {
  const std::string whole = TinyMixtral().Build();
  const std::string header = TinyMixtral().Header();
  for (size_t bytes = 0; bytes < whole.size(); bytes += bytes < header.size() ? 7 : 509) {
    SCOPED_TRACE(bytes);
    ExpectGgufRefused(whole.substr(0, bytes), {});
  }
  EXPECT_EQ(ReadBytes(whole).tensors.size(), 13u);
}

// Every byte of the header, changed to something else: refused or understood, never a crash or another
// exception.
TEST(GgufReader, SurvivesEveryChangedHeaderByte) {
  const std::string whole = TinyMixtral().Build();
  const size_t header = TinyMixtral().Header().size();
  const TempDir dir;
  WriteFile(dir / "m.gguf", whole);
  size_t refused = 0;
  for (size_t at = 0; at < header; ++at) {
    for (const int change : {0x01, 0x80, 0xFF}) {
      WriteByte(dir / "m.gguf", at, static_cast<char>(whole[at] ^ change));
      try {
        BuildModelSpec(OpenCheckpoint(dir / "m.gguf"));
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kBadInput) << error.what();
        ++refused;
      }
    }
    WriteByte(dir / "m.gguf", at, whole[at]);
  }
  EXPECT_GT(refused, header);
}

TEST(GgufVocabulary, RefusesListsThatContradictEachOther) {
  const std::vector<Broken> cases = {
      {"scores",
       [](W* w) {
         w->Numbers<float>("tokenizer.ggml.scores", W::kF32, {1, 2});
       },
       {"tokenizer.ggml.scores", "32 elements", "found 2"}},
      {"types",
       [](W* w) { w->Numbers<int32_t>("tokenizer.ggml.token_type", W::kI32, {1}); },
       {"tokenizer.ggml.token_type", "32 elements", "found 1"}},
      {"types as texts",
       [](W* w) { w->Texts("tokenizer.ggml.token_type", std::vector<std::string>(32, "1")); },
       {"tokenizer.ggml.token_type", "numbers"}},
      {"tokens as numbers",
       [](W* w) { w->Numbers<float>("tokenizer.ggml.tokens", W::kF32, {1}); },
       {"tokenizer.ggml.tokens", "array of strings"}},
      {"bos",
       [](W* w) { w->U32("tokenizer.ggml.bos_token_id", 32); },
       {"tokenizer.ggml.bos_token_id", "below 32, found 32"}},
      {"eos",
       [](W* w) { w->Set("tokenizer.ggml.eos_token_id", W::kI32, Raw<int32_t>(-1)); },
       {"tokenizer.ggml.eos_token_id", "found -1"}},
  };
  for (const Broken& broken : cases) {
    SCOPED_TRACE(broken.what);
    W gguf = TinyMixtral();
    broken.edit(&gguf);
    ExpectGgufRefused(gguf.Build(), broken.fragments);
  }
}

TEST(GgufVocabulary, RefusesMalformedByteTokens) {
  for (const char* token : {"<0xZZ>", "<0x-1>", "<0x1>", "0x00", "<0x000>"}) {
    W gguf = TinyMixtral();
    std::vector<std::string> tokens(32, "t");
    std::vector<int32_t> types(32, 1);
    tokens[7] = token;
    types[7] = 6;
    gguf.Texts("tokenizer.ggml.tokens", tokens).Numbers("tokenizer.ggml.token_type", W::kI32, types);
    ExpectGgufRefused(gguf.Build(), {"byte token 7", token});
  }
}

double BestOfThree(const std::function<void()>& action) {
  double best = test::ThreadSeconds(action);
  for (int i = 0; i < 2; ++i) best = std::min(best, test::ThreadSeconds(action));
  return best;
}

TEST(GgufReader, ReadsALargeVocabularyWithinThreeTenthsOfASecond) {
  constexpr int kTokens = 151936;
  W gguf = TinyMixtral();
  std::vector<std::string> tokens, merges;
  for (int i = 0; i < kTokens; ++i) {
    tokens.push_back(fmt::format("token{}", i));
    merges.push_back(fmt::format("tok{} en{}", i % 1000, i));
  }
  gguf.Texts("tokenizer.ggml.tokens", tokens).Texts("tokenizer.ggml.merges", merges);
  gguf.Numbers("tokenizer.ggml.scores", W::kF32, std::vector<float>(kTokens, 0));
  gguf.Numbers("tokenizer.ggml.token_type", W::kI32, std::vector<int32_t>(kTokens, 1));
  const TempDir dir;
  gguf.Write(dir / "m.gguf");
  const double seconds = BestOfThree([&] {
    EXPECT_EQ(OpenCheckpoint(dir / "m.gguf").metadata.at("tokenizer.ggml.tokens").size(), kTokens);
  });
  RecordProperty("milliseconds", static_cast<int>(seconds * 1000));
  EXPECT_LT(seconds, kSanitized ? 3.0 : 0.3);
}

TEST(GgufReader, ReadsTheHeadersOf700GigabytesWithinThreeTenthsOfASecond) {
  constexpr uint64_t kTensors = 1000, kRows = 1 << 17, kCols = 10240;  // 0.75 GB each, as Q4_K
  W gguf;
  gguf.Text("general.architecture", "qwen3moe");
  const uint64_t bytes = kRows * kernels::RowBytes(*kernels::FindGgmlType(12), kCols);
  for (uint64_t i = 0; i < kTensors; ++i) {
    gguf.Add({fmt::format("blk.{}.w", i), {kCols, kRows}, 12, "", i * bytes});
  }
  const TempDir dir;
  gguf.Write(dir / "m.gguf");
  std::error_code error;
  std::filesystem::resize_file(dir / "m.gguf", (1 << 20) + kTensors * bytes, error);
  if (error) GTEST_SKIP() << "the file system has no sparse files of 755 GB: " << error.message();
  const double seconds = BestOfThree([&] {
    const Checkpoint checkpoint = OpenCheckpoint(dir / "m.gguf");
    EXPECT_EQ(checkpoint.tensors.size(), kTensors);
    EXPECT_GT(checkpoint.tensors.back().offset, 700'000'000'000u);
  });
  EXPECT_LT(seconds, kSanitized ? 3.0 : 0.3);
}

}  // namespace
}  // namespace onecopy
