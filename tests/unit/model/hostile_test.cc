// Small files that asked for much: what tests/fuzz found. Each says what was wrong.
#include "runtime/model/model_spec.h"
#include "tests/support/processor_time.h"
#include "tests/unit/model/model_test_support.h"

namespace onecopy {
namespace {

using namespace onecopy::testing;  // NOLINT

// The names of all 2 billion tensors that such a model would need were made and kept, until no memory was left.
TEST(HostileModel, TensorsOfAbsurdlyManyExpertsAreNotCountedToTheEnd) {
  const TempDir dir;
  nlohmann::json config = ReadJson(DataPath("goldens/malformed/valid/config.json"));
  config["num_hidden_layers"] = 10000;
  config["num_local_experts"] = 65536;
  WriteDirectory(dir, config, ReadFile(DataPath("goldens/malformed/valid/model.safetensors")));
  const double seconds = test::ThreadSeconds([&] {
    ExpectBadInput([&] { BuildModelSpec(OpenCheckpoint(dir.path())); },
                   {dir.path(), "100000 tensors are missing", "or still more"});
  });
  EXPECT_LT(seconds, 5);
}

// A text that is no UTF-8 where a list of numbers belongs was written into the message by a function that throws at it, so that
// the program ended with the word of a library instead of a sentence that names the file.
TEST(HostileModel, TextsThatAreNoUtf8AreShownInMessages) {
  GgufWriter gguf = TinyMixtral();
  gguf.Text("general.architecture", "mimo2").U32("mimo2.block_count", 1);
  gguf.Texts("mimo2.attention.head_count_kv", {"\xFF\x1B"});
  const TempDir dir;
  gguf.Write(dir / "m.gguf");
  ExpectBadInput(
      [&] { BuildModelSpec(OpenCheckpoint(dir / "m.gguf")); },
      {"m.gguf", "mimo2.attention.head_count_kv: expected numbers from 1 to 65536, found \"\uFFFD"});
}

}  // namespace
}  // namespace onecopy
