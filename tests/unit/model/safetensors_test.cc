#include "runtime/model/safetensors.h"

#include "tests/support/processor_time.h"
#include "tests/unit/model/model_test_support.h"

namespace onecopy {
namespace {

using namespace onecopy::testing;  // NOLINT

SafetensorsFile ReadTensors(const std::string& bytes) {
  const TempDir dir;
  WriteFile(dir / "m.safetensors", bytes);
  return ReadSafetensorsFile(dir / "m.safetensors");
}

// The header as text, with `data_bytes` of data behind it.
void ExpectRefused(const std::string& header, uint64_t data_bytes, std::vector<std::string> fragments) {
  SCOPED_TRACE(header);
  fragments.push_back("m.safetensors: ");
  ExpectBadInput([&] { ReadTensors(SafetensorsWriter::Bytes(header, std::string(data_bytes, '\0'))); },
                 fragments);
}

TEST(Safetensors, GivesTensorsByOffset) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[16,28]},)"
      R"("a":{"shape":[4],"data_offsets":[0,16],"dtype":"F32"}}   )";
  const SafetensorsFile file = ReadTensors(SafetensorsWriter::Bytes(header, std::string(28, 'x')));
  ASSERT_EQ(file.tensors.size(), 2u);
  EXPECT_EQ(file.bytes, 8 + header.size() + 28);
  EXPECT_EQ(file.tensors[0].name, "a");
  EXPECT_EQ(file.tensors[0].offset, 8 + header.size());
  EXPECT_EQ(file.tensors[0].info->type, kernels::WeightType::kF32);
  EXPECT_EQ(file.tensors[1].name, "b");
  EXPECT_EQ(file.tensors[1].offset, 8 + header.size() + 16);
  EXPECT_EQ(file.tensors[1].bytes, 12u);
  EXPECT_THAT(file.tensors[1].shape, ::testing::ElementsAre(2, 3));
  EXPECT_EQ(file.tensors[1].type_name, "BF16");
  EXPECT_EQ(file.tensors[1].info->type, kernels::WeightType::kBF16);
}

TEST(Safetensors, KnowsOtherDtypesByNameAndSizeOnly) {
  SafetensorsWriter writer;
  const std::vector<std::pair<const char*, uint64_t>> dtypes = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"F8_E8M0", 1}, {"I16", 2},
      {"U16", 2},  {"I32", 4}, {"U32", 4}, {"F64", 8},     {"I64", 8},     {"U64", 8},     {"C64", 8}};
  for (const auto& [dtype, bytes] : dtypes) writer.Add(dtype, dtype, {3, 5}, bytes);
  const SafetensorsFile file = ReadTensors(writer.Build());
  ASSERT_EQ(file.tensors.size(), dtypes.size());
  for (const TensorInfo& tensor : file.tensors) {
    EXPECT_EQ(tensor.info, nullptr) << tensor.name;
    EXPECT_EQ(tensor.type_name, tensor.name);
  }
}

TEST(Safetensors, TakesScalarsAndEmptyTensors) {
  SafetensorsWriter writer;
  writer.Add("scalar", "F32", {}, 4).Add("empty", "F16", {0, 7}).Add("none", "F16", {0});
  const SafetensorsFile file = ReadTensors(writer.Build());
  ASSERT_EQ(file.tensors.size(), 3u);
  uint64_t bytes = 0;
  for (const TensorInfo& tensor : file.tensors) bytes += tensor.bytes;
  EXPECT_EQ(bytes, 4u);
}

TEST(Safetensors, RefusesBadHeaderLengths) {
  const auto refused = [](const std::string& bytes, const std::vector<std::string>& fragments) {
    ExpectBadInput([&] { ReadTensors(bytes); }, fragments);
  };
  refused("", {"at least 8 bytes, found 0"});
  refused("1234567", {"at least 8 bytes, found 7"});
  refused(SafetensorsWriter::Bytes("{}", "", 0), {"header length", "found 0"});
  refused(SafetensorsWriter::Bytes("{}", "", 1), {"header length", "found 1"});
  refused(SafetensorsWriter::Bytes("{}", "", 3), {"3 bytes announced", "only 2 bytes left"});
  refused(SafetensorsWriter::Bytes("{}", "", 100'000'001), {"2 to 100000000 bytes, found 100000001"});
}

TEST(Safetensors, DoesNotReadAHundredMegabytesThatAreNoHeader) {
  const TempDir dir;
  WriteFile(dir / "m.safetensors", SafetensorsWriter::Bytes(std::string(1, '\0'), "", 100'000'000));
  std::filesystem::resize_file(dir / "m.safetensors", 200'000'000);
  const double seconds = test::ThreadSeconds([&] {
    ExpectBadInput([&] { ReadSafetensorsFile(dir / "m.safetensors"); }, {"expected a JSON object", "\\x00"});
  });
  EXPECT_LT(seconds, 0.05);
}

TEST(Safetensors, RefusesHeadersOfAnotherForm) {
  const std::string deep = "{\"a\":" + std::string(50000, '[') + std::string(50000, ']') + "}";
  ExpectRefused(" {}", 0, {"expected a JSON object as header"});
  ExpectRefused("{} {}", 0, {"not valid JSON"});
  ExpectRefused("{\"a\":", 0, {"not valid JSON"});
  ExpectRefused("{\"\xFF\":{}}", 0, {"not valid JSON"});
  ExpectRefused(deep, 0, {"\"a\"", "expected an object with dtype, shape and data_offsets, found an array"});
  ExpectRefused(R"({"a":1})", 0, {"\"a\"", "found 1"});
  ExpectRefused(R"({"a":null})", 0, {"\"a\"", "found null"});
  ExpectRefused(R"({"__metadata__":{"x":1}})", 0, {"__metadata__: expected only strings, found 1"});
  ExpectRefused(R"({"__metadata__":{"x":{"y":"z"}}})", 0,
                {"__metadata__: expected only strings, found an object"});
  ExpectRefused(R"({"a":{}})", 0, {"\"a\"", "some are missing"});
  ExpectRefused(R"({"a":{"dtype":"F16","shape":[1]}})", 2, {"\"a\"", "some are missing"});
  ExpectRefused(R"({"a":{"dtype":"F16","shape":[1],"data_offsets":[0,2],"x":1}})", 2,
                {"unknown field \"x\""});
  ExpectRefused(R"({"a":{"dtype":16,"shape":[1],"data_offsets":[0,2]}})", 2,
                {"dtype: expected a string, found 16"});
  ExpectRefused(R"({"a":{"dtype":"F16","shape":"1","data_offsets":[0,2]}})", 2, {"shape: expected an array"});
  ExpectRefused(R"({"a":{"dtype":"F16","shape":[1],"data_offsets":2}})", 2,
                {"data_offsets: expected an array"});
  ExpectRefused(R"({"a":{"dtype":"f16","shape":[1],"data_offsets":[0,2]}})", 2, {"dtype \"f16\""});
}

TEST(Safetensors, RefusesDuplicateNamesAndFields) {
  const std::string a = R"("a":{"dtype":"F16","shape":[1],"data_offsets":[0,2]})";
  ExpectRefused("{" + a + "," + a + "}", 2, {"\"a\"", "twice"});
  ExpectRefused(R"({"__metadata__":{},"__metadata__":{}})", 0, {"__metadata__", "twice"});
  ExpectRefused(R"({"a":{"dtype":"F16","shape":[1],"shape":[1],"data_offsets":[0,2]}})", 2,
                {"shape is there twice"});
  ExpectRefused(R"({"":{"dtype":"F16","shape":[1],"data_offsets":[0,2]}})", 2, {"name is empty"});
}

TEST(Safetensors, RefusesBadShapes) {
  const auto with_shape = [](const std::string& shape) {
    return R"({"a":{"dtype":"F16","shape":)" + shape + R"(,"data_offsets":[0,2]}})";
  };
  ExpectRefused(with_shape("[-1]"), 2, {"\"a\"", "shape: expected whole numbers from 0, found -1"});
  ExpectRefused(with_shape("[1.0]"), 2, {"shape: expected whole numbers from 0, found 1.0"});
  ExpectRefused(with_shape("[1e0]"), 2, {"shape: expected whole numbers from 0, found 1e0"});
  ExpectRefused(with_shape("[\"1\"]"), 2, {"shape: expected whole numbers from 0"});
  ExpectRefused(with_shape("[[1]]"), 2, {"shape: expected whole numbers from 0, found an array"});
  ExpectRefused(with_shape("[18446744073709551616]"), 2, {"shape"});  // 2^64: no integer
  ExpectRefused(with_shape("[4294967296,4294967296]"), 2, {"more than 2^64 bits"});
  ExpectRefused(with_shape("[9223372036854775809,2]"), 2,
                {"more than 2^64 bits"});  // would wrap to 2 elements
  ExpectRefused(with_shape("[1,1,1,1,1,1,1,1,1]"), 2, {"at most 8 dimensions"});
  ExpectRefused(R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}})", 2,
                {"not a whole number of bytes"});
}

TEST(Safetensors, RefusesBadOffsets) {
  const auto two = [](const std::string& a, const std::string& b) {
    return R"({"a":{"dtype":"F16","shape":[2],"data_offsets":)" + a +
           R"(},"b":{"dtype":"F16","shape":[2],"data_offsets":)" + b + "}}";
  };
  ExpectRefused(two("[0]", "[4,8]"), 8, {"\"a\"", "expected two numbers, found 1"});
  ExpectRefused(two("[0,4,8]", "[4,8]"), 8, {"\"a\"", "expected two numbers, found more"});
  ExpectRefused(two("[4,0]", "[4,8]"), 8, {"\"a\"", "expected begin <= end, found [4, 0]"});
  ExpectRefused(two("[-4,0]", "[4,8]"), 8, {"\"a\"", "found -4"});
  ExpectRefused(two("[0,5]", "[4,8]"), 8, {"\"a\"", "expected 4 bytes for F16 of shape [2], found 5"});
  ExpectRefused(two("[0,4]", "[0,4]"), 8, {"\"b\"", "before (an overlap)"});
  ExpectRefused(two("[0,4]", "[2,6]"), 6, {"\"b\"", "2 bytes before (an overlap)"});
  ExpectRefused(two("[0,4]", "[6,10]"), 10, {"\"b\"", "2 bytes after (a hole)"});
  ExpectRefused(two("[2,6]", "[6,10]"), 10, {"\"a\"", "2 bytes after (a hole)"});
  ExpectRefused(two("[0,4]", "[4,8]"), 9, {"1 trailing bytes"});
  ExpectRefused(two("[0,4]", "[4,8]"), 7, {"\"b\"", "end at 8", "only 7 bytes of data"});
  ExpectRefused(two("[0,4]", "[18446744073709551612,18446744073709551616]"), 8, {"\"b\""});
  ExpectRefused(two("[0,4]", "[18446744073709551611,18446744073709551615]"), 8,
                {"\"b\"", "only 8 bytes of data"});
  const std::string inside =
      R"({"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]},"e":{"dtype":"F16","shape":[0],"data_offsets":[2,2]}})";
  ExpectRefused(inside, 4, {"\"e\"", "before (an overlap)"});
}

TEST(Safetensors, SurvivesEveryChangedHeaderByte) {
  const std::string whole = ReadFile(DataPath("goldens/malformed/valid/model.safetensors"));
  const size_t header = 8 + static_cast<unsigned char>(whole[0]) + 256 * static_cast<unsigned char>(whole[1]);
  const TempDir dir;
  WriteFile(dir / "m.safetensors", whole);
  size_t refused = 0;
  for (size_t at = 0; at < header; ++at) {
    WriteByte(dir / "m.safetensors", at, static_cast<char>(whole[at] ^ (at % 2 == 0 ? 0x01 : 0x80)));
    try {
      ReadSafetensorsFile(dir / "m.safetensors");
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kBadInput) << error.what();
      ++refused;
    }
    WriteByte(dir / "m.safetensors", at, whole[at]);
  }
  EXPECT_GT(refused, header / 2);
}

}  // namespace
}  // namespace onecopy
