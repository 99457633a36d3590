// The runtime for programs of your own: a model loaded over all ranks of an MPI job, in memory once, driven from rank 0. The
// one header that is installed (onecopy/runtime.h); it needs nothing but the standard library.
//
// Every rank calls Run, with the same options; the program is started as onecopy is (`mpirun -n 4 --bind-to none -x
// ONECOPY_BIND=numa ./program`), or without mpirun as one rank. MPI is initialised and finalised inside of Run.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace onecopy::api {

struct Options {
  std::string model;  // a GGUF file (the first of a split set) or a Hugging Face directory
  uint32_t context =
      4096;  // positions of the KV cache, over all sequences; of one, no more than the model was trained for
  uint32_t sequences = 1;  // that the cache holds at once, in slots 0 … sequences - 1
  bool show_place =
      false;  // a table on stderr: per rank its node, bytes, and share of its pages on that node
};

// The defaults are greedy. Others: as `onecopy generate` explains them.
struct Sampling {
  float temperature = 0;
  int32_t top_k = 0;
  float top_p = 1, min_p = 0;
  float repeat_penalty = 1;
  uint64_t seed = 0;
};

// The loaded model, on rank 0. Belongs to the thread that Run calls; valid until that call returns.
// Errors of all functions: std::runtime_error, one sentence. After one that says a rank has failed nothing more can be run.
class Model {
 public:
  virtual uint32_t vocab_size() const = 0;

  // Token ids of a text, begun as the model begins texts; parts such as "<|im_end|>" become the tokens of that name.
  virtual std::vector<int32_t> Encode(const std::string& text) const = 0;
  // Bytes that make no character become U+FFFD; control tokens are left out.
  virtual std::string Decode(std::span<const int32_t> tokens) const = 0;
  // Whether a text or an answer ends with this token.
  virtual bool IsEnd(int32_t token) const = 0;

  // Continues `prompt` (at least one token) in slot 0, forgetting what that held, by at most n tokens. accept: called with
  // each as it comes; false ends. The same prompt, sampling and model give the same tokens at any number of ranks.
  virtual void Generate(std::span<const int32_t> prompt, uint32_t n, const Sampling& sampling,
                        const std::function<bool(int32_t)>& accept) = 0;

  // Appends tokens to the sequence in `slot`, which holds `position` tokens so far. Returns the logits that follow the last
  // `num_logits` of them: f32 [num_logits][vocab_size], valid until the next call.
  virtual std::span<const float> Append(uint32_t slot, uint32_t position, std::span<const int32_t> tokens,
                                        uint32_t num_logits = 1) = 0;
  // Forgets the sequence in `slot`.
  virtual void Release(uint32_t slot) = 0;

 protected:
  ~Model() = default;
};

// Loads the model over all ranks, calls body on rank 0, and lets the ranks go. Once in a process. Returns the exit code for
// main: 0 done, 2 wrong options, 3 bad model, 4 does not fit, 5 a rank or the communication failed; what is wrong has been
// logged to stderr. What body throws beside the errors of Model comes out of Run on rank 0.
int Run(const Options& options, const std::function<void(Model&)>& body);

}  // namespace onecopy::api
