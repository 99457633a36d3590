// The families, and what several of them share: the plain transformer's hyper-parameters and attention
// weights.
#pragma once

#include <string>
#include <vector>

#include "runtime/model/model_spec.h"
#include "runtime/model/parameters.h"

namespace onecopy {

const Family& Qwen3MoeFamily();
const Family& MixtralFamily();
const Family& DeepseekFamily();
const Family& GptOssFamily();

// Far above any model, and small enough that a product of two fits into 64 bits with room to spare.
inline constexpr uint32_t kMaxLayers = 10'000;
inline constexpr uint32_t kMaxDim = 1 << 24;
inline constexpr uint32_t kMaxHeads = 1 << 16;
inline constexpr uint32_t kMaxExperts = 1 << 16;
inline constexpr uint32_t kMaxContext = 1 << 30;

// Metadata of the checkpoint: keys behind "ARCHITECTURE." in GGUF, of config.json otherwise.
Parameters OpenParameters(const Checkpoint& checkpoint);

// Hidden size, layers, heads, vocabulary, context, norm and rope, in the spelling of the checkpoint's format.
// Adds a problem for each option that onecopy does not compute: scaled rope, sliding windows, other
// activations, unknown quantization_config.
void ReadTransformer(const Checkpoint& checkpoint, Parameters* in, proto::ModelSpec* spec);

// The parts of ReadTransformer, for families of which the rest is not true.
// Hidden size, layers, numbers of heads, vocabulary, context, norm.
void ReadSizes(const Checkpoint& checkpoint, Parameters* in, proto::ModelSpec* spec);
// The base of the rotation and its scaling; a problem for a scaling that is not supported.
enum class RopeSupport { kPlain, kYarn };
void ReadRope(const Checkpoint& checkpoint, RopeSupport support, Parameters* in, proto::ModelSpec* spec);
// A problem for a quantization_config that is not supported (quantization.h).
void RefuseHfQuantization(const Checkpoint& checkpoint, Parameters* in);

// Refuses parameters that contradict each other, and all problems found before.
void CheckTransformer(Parameters* in, const proto::ModelSpec& spec);

// Embedding, norms and attention, the same tensors in every family; q/k norms are not among them.
std::vector<Family::TensorRow> AttentionRows();

}  // namespace onecopy
