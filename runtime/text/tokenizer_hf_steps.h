// The parts of tokenizer.json that are pipelines: normalizer, pre_tokenizer, post_processor, decoder. Free
// functions. Each component type that is not listed in the .cc is refused by name: ignoring one would give
// other ids. Source: Hugging Face tokenizers 0.2x, the serde names of its components.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <vector>

#include "runtime/text/normalizer.h"
#include "runtime/text/pre_tokenizer.h"

namespace onecopy::text {

// Errors of all: kBadInput, naming the component. tokenizer: the whole tokenizer.json.
std::vector<NormalizerStep> ReadNormalizer(const nlohmann::json& tokenizer);

struct PreTokenizerSpec {
  std::vector<PreTokenizerStep> steps;
  bool byte_level = false;
};
PreTokenizerSpec ReadPreTokenizer(const nlohmann::json& tokenizer);

// Ids that the post-processor puts around a single text.
struct Surrounding {
  std::vector<int32_t> before, after;
};
Surrounding ReadPostProcessor(const nlohmann::json& tokenizer, int64_t vocab_size);

struct DecoderSpec {
  bool byte_level = false;
  bool byte_fallback = false;  // "<0xE4>" is a byte
  bool strips_leading_space = false;
};
DecoderSpec ReadDecoder(const nlohmann::json& tokenizer);

}  // namespace onecopy::text
