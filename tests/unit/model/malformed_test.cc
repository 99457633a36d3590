// tests/data/goldens/malformed: files broken by an independent writer. Each must be refused for its own
// reason, quickly, and without memory being taken for what it announces.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "runtime/model/model_spec.h"
#include "tests/support/processor_time.h"
#include "tests/unit/model/model_test_support.h"

#if defined(__SANITIZE_ADDRESS__)
// Of sanitizer/allocator_interface.h, which g++ has not, though its library has it.
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*allocated)(const volatile void*, size_t),
                                                         void (*freed)(const volatile void*));
#endif

namespace onecopy {
namespace {

using namespace onecopy::testing;  // NOLINT

// Path -> what the message must say.
const std::map<std::string, std::vector<std::string>> kReasons = {
    {"bad_magic.gguf", {"expected the magic \"GGUF\" at its start, found \"GGUX\""}},
    {"version_99.gguf", {"expected GGUF version 2 or 3, found 99"}},
    {"truncated_header.gguf", {"expected at least 24 bytes, found 20"}},
    {"truncated_metadata.gguf", {"13 tensors of at least 33 bytes announced", "has only 276 bytes left"}},
    {"truncated_data.gguf",
     {"tensor \"blk.0.ffn_down_exps.weight\"", "ends beyond the file", "downloaded completely"}},
    {"tensor_count_2e63.gguf", {"9223372036854775808 tensors"}},
    {"kv_count_2e40.gguf", {"1099511627776 metadata keys"}},
    {"key_length_overflow.gguf", {"metadata key 0", "at most 65535 bytes, found 18446744073709551615"}},
    {"string_length_past_end.gguf", {"\"general.architecture\"", "2147483648 characters", "bytes left"}},
    {"array_length_huge.gguf", {"\"tokenizer.ggml.scores\"", "4611686018427387904 array elements"}},
    {"nested_array.gguf", {"\"deep\"", "found an array of arrays"}},
    {"kv_type_unknown.gguf", {"\"llama.context_length\"", "value type from 0 to 12, found 77"}},
    {"offset_past_end.gguf", {"tensor \"output.weight\"", "offset 1099511627776", "ends beyond the file"}},
    {"offset_misaligned.gguf", {"tensor \"output_norm.weight\"", "not a multiple of the alignment, 32"}},
    {"tensors_overlap.gguf", {"\"token_embd.weight\" and \"output.weight\" overlap"}},
    {"dims_overflow.gguf", {"tensor \"output.weight\"", "more than 2^63 elements"}},
    {"dims_overflow_to_fit.gguf", {"tensor \"output.weight\"", "expected a size from 1 to 2^63 - 1"}},
    {"dims_zero.gguf", {"tensor \"output.weight\"", "expected a size from 1", "found 0"}},
    {"n_dims_9.gguf", {"tensor \"output.weight\"", "expected 1 to 4 dimensions, found 9"}},
    {"tensor_type_unknown.gguf", {"tensor \"output.weight\"", "GGML type 200"}},
    {"duplicate_tensor.gguf", {"two tensors have this name", "blk.0.attn_norm.weight"}},
    {"missing_tensor.gguf", {"1 tensor is missing: blk.0.attn_q.weight"}},
    {"missing_experts.gguf", {"1 tensor is missing: blk.0.ffn_up_exps.weight"}},
    {"wrong_shape.gguf", {"of wrong shape: blk.0.attn_q.weight is [64, 16], expected [32, 32]"}},
    {"missing_key.gguf", {"llama.block_count: is missing"}},
    {"architecture_unknown.gguf", {"\"nosuch\" is not supported yet", "qwen3moe", "llama"}},
    {"st_header_past_end", {"model.safetensors", "header length", "found 1099511627776"}},
    {"st_header_length_negative", {"model.safetensors", "header length", "found 18446744073709551608"}},
    {"st_header_not_json", {"model.safetensors", "not valid JSON at its byte 2"}},
    {"st_header_is_array", {"model.safetensors", "expected a JSON object as header"}},
    {"st_offsets_reversed", {"self_attn.q_proj.weight", "expected begin <= end"}},
    {"st_offsets_past_end", {"self_attn.q_proj.weight", "data_offsets end at", "downloaded completely"}},
    {"st_offsets_disagree", {"self_attn.q_proj.weight", "expected 2048 bytes", "found 100"}},
    {"st_dtype_unknown", {"self_attn.q_proj.weight", "dtype \"F12\""}},
    // The absent tensor left its bytes behind, so the file is refused before the model is.
    {"st_missing_tensor", {"model.layers.0.self_attn.k_proj.weight", "2048 bytes after (a hole)"}},
    {"st_wrong_shape", {"model.layers.0.self_attn.q_proj.weight is [64, 16], expected [32, 32]"}},
    {"st_missing_shard", {"model.safetensors.index.json", "model-00002-of-00002.safetensors", "not there"}},
    {"no_weights", {"no weights", "model.safetensors"}},
    {"config_missing_hidden_size", {"config.json", "hidden_size: is missing"}},
    {"config_negative_layers",
     {"config.json", "num_hidden_layers: expected an integer from 1 to 10000, found -1"}},
    {"config_negative_hidden_size", {"config.json", "hidden_size: expected an integer", "found -32"}},
    {"config_top_k_above_experts", {"config.json", "5 experts are chosen of only 4"}},
    {"config_heads_do_not_divide", {"config.json", "3 query heads are not a multiple of 2 key-value heads"}},
    {"config_not_json", {"config.json", "byte", "not valid JSON"}},
};

proto::ModelSpec Load(const std::string& path) {
  return BuildModelSpec(OpenCheckpoint(path));
}

TEST(Malformed, EachCaseIsRefusedForItsOwnReasonWithinASecond) {
  size_t refused = 0;
  for (const nlohmann::json& one : ReadJson(DataPath("goldens/malformed/cases.json"))) {
    if (one["expect"] != "reject") continue;
    const std::string name = one["path"];
    SCOPED_TRACE(name + ": " + one["wrong"].get<std::string>());
    const auto reason = kReasons.find(name);
    if (reason == kReasons.end()) {
      ADD_FAILURE() << "this test knows no reason for the case";
      continue;
    }
    std::vector<std::string> fragments = reason->second;
    fragments.push_back(DataPath("goldens/malformed/" + name));
    const double seconds = test::ThreadSeconds(
        [&] { ExpectBadInput([&] { Load(DataPath("goldens/malformed/" + name)); }, fragments); });
    EXPECT_LT(seconds, 1.0);
    ++refused;
  }
  EXPECT_EQ(refused, kReasons.size());
}

TEST(Malformed, ValidControlsGiveTheSameModel) {
  const proto::ModelSpec gguf = Load(DataPath("goldens/malformed/valid.gguf"));
  const proto::ModelSpec directory = Load(DataPath("goldens/malformed/valid"));
  EXPECT_EQ(gguf.family(), "mixtral");
  EXPECT_EQ(gguf.weights_size(), 13);
  EXPECT_EQ(directory.weights_size(), 10 + 3 * 4);
  // They differ only in where the weights are and in the direction of rope.
  proto::ModelSpec a = gguf, b = directory;
  for (proto::ModelSpec* spec : {&a, &b}) {
    spec->clear_weights();
    spec->clear_files();
    spec->clear_file_bytes();
    spec->clear_name();
  }
  EXPECT_EQ(a.rope_style(), proto::ModelSpec::PAIRWISE);
  EXPECT_EQ(b.rope_style(), proto::ModelSpec::NEOX);
  a.clear_rope_style();
  b.clear_rope_style();
  EXPECT_EQ(a.DebugString(), b.DebugString());
}

TEST(Malformed, NanScalesDoNotMatterToTheHeaders) {
  EXPECT_EQ(Load(DataPath("goldens/malformed/nan_scales.gguf")).weights_size(), 13);
}

constexpr size_t kMostBytes = 32 << 20;

#if defined(__SANITIZE_ADDRESS__)
// The sanitizer reserves address space of its own, so a limit of that says nothing: what is allocated at once is looked at.
size_t largest_allocation = 0;

TEST(Malformed, NoCaseTakesMemoryForWhatItAnnounces) {
  static const int installed = __sanitizer_install_malloc_and_free_hooks(
      [](const volatile void*, size_t bytes) { largest_allocation = std::max(largest_allocation, bytes); },
      [](const volatile void*) {});
  ASSERT_NE(installed, 0);
  for (const auto& [name, fragments] : kReasons) {
    largest_allocation = 0;
    EXPECT_THROW(Load(DataPath("goldens/malformed/" + name)), Error) << name;
    EXPECT_GT(largest_allocation, 0u);
    EXPECT_LT(largest_allocation, kMostBytes) << name;
  }
}
#else
uint64_t AddressSpaceBytes() {
  std::ifstream statm("/proc/self/statm");
  uint64_t pages = 0;
  statm >> pages;
  return pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}

TEST(Malformed, NoCaseTakesMemoryForWhatItAnnounces) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const rlim_t limit = AddressSpaceBytes() + kMostBytes;
    const rlimit bytes = {limit, limit};
    if (setrlimit(RLIMIT_AS, &bytes) != 0) _exit(2);
    for (const auto& [name, fragments] : kReasons) {
      try {
        Load(DataPath("goldens/malformed/" + name));
        _exit(3);
      } catch (const Error&) {
      } catch (const std::bad_alloc&) {
        _exit(4);
      }
    }
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0) << "4: an allocation failed under the limit";
}
#endif

}  // namespace
}  // namespace onecopy
