// Rotary positions in the spelling of both formats: the base, and scaling by YaRN for families that may have it.
// Sources: llama.cpp's keys rope.scaling.* (gguf-py, constants.py); transformers' rope_scaling and rope_parameters and
// its YaRN (modeling_rope_utils); the defaults of absent values are theirs.
#include <fmt/format.h>

#include <cmath>

#include "runtime/base/printable.h"
#include "runtime/model/families/families.h"

namespace onecopy {
namespace {

using proto::ModelSpec;
using proto::RopeScaling;

// YaRN's temperature, arXiv 2309.00071, section 3.4; `weight` is 1 there, DeepSeek's mscale otherwise.
float YarnTemperature(double factor, double weight) {
  return static_cast<float>(factor <= 1 ? 1 : 0.1 * weight * std::log(factor) + 1);
}

void ReadGgufYarn(Parameters* in, ModelSpec* spec) {
  RopeScaling* scaling = spec->mutable_rope_scaling();
  scaling->set_kind(RopeScaling::YARN);
  scaling->set_factor(in->Positive("rope.scaling.factor"));
  scaling->set_original_context_length(in->Count("rope.scaling.original_context_length", 1, kMaxContext));
  scaling->set_beta_fast(in->PositiveOr("rope.scaling.yarn_beta_fast", 32));
  scaling->set_beta_slow(in->PositiveOr("rope.scaling.yarn_beta_slow", 1));
  scaling->set_truncate(true);
  scaling->set_attention_factor(YarnTemperature(scaling->factor(), 1));
  // The converter writes 0.1 * mscale_all_dim here.
  const float temperature =
      YarnTemperature(scaling->factor(), in->NumberOr("rope.scaling.yarn_log_multiplier", 0) / 0.1);
  scaling->set_softmax_factor(temperature * temperature);
}

void ReadGguf(RopeSupport support, Parameters* in, ModelSpec* spec) {
  spec->set_rope_theta(in->PositiveOr("rope.freq_base", 10000));
  const std::string kind = in->TextOr("rope.scaling.type", "linear");
  if (support == RopeSupport::kYarn && kind == "yarn") return ReadGgufYarn(in, spec);
  const double factor = in->NumberOr("rope.scaling.factor", in->NumberOr("rope.scale_linear", 0));
  if (kind != "none" && (kind != "linear" || (factor != 0 && factor != 1))) {
    in->Problem("rope.scaling", fmt::format("{} by {} is not supported yet", Printable(kind), factor));
  }
}

// `rope`: the object that config.json has under rope_scaling or rope_parameters.
void ReadHfYarn(Parameters* rope, ModelSpec* spec) {
  RopeScaling* scaling = spec->mutable_rope_scaling();
  scaling->set_kind(RopeScaling::YARN);
  scaling->set_factor(rope->Positive("factor"));
  scaling->set_original_context_length(
      rope->CountOr("original_max_position_embeddings", spec->context_length(), 1, kMaxContext));
  scaling->set_beta_fast(rope->PositiveOr("beta_fast", 32));
  scaling->set_beta_slow(rope->PositiveOr("beta_slow", 1));
  scaling->set_truncate(rope->FlagOr("truncate", true));
  const double mscale = rope->NumberOr("mscale", 0), all_dim = rope->NumberOr("mscale_all_dim", 0);
  const float temperature = YarnTemperature(scaling->factor(), all_dim);
  scaling->set_softmax_factor(temperature * temperature);
  const float attention_factor = mscale != 0 && all_dim != 0
                                     ? YarnTemperature(scaling->factor(), mscale) / temperature
                                     : YarnTemperature(scaling->factor(), 1);
  scaling->set_attention_factor(rope->PositiveOr("attention_factor", attention_factor));
}

// Transformers 5 writes rope_parameters {rope_theta, rope_type, …}, earlier versions rope_theta and
// rope_scaling.
void ReadHf(const Checkpoint& checkpoint, RopeSupport support, Parameters* in, ModelSpec* spec) {
  bool has_theta = in->Has("rope_theta");
  if (has_theta) spec->set_rope_theta(in->Positive("rope_theta"));
  for (const char* key : {"rope_parameters", "rope_scaling"}) {
    if (!in->Has(key)) continue;
    const nlohmann::json& rope = checkpoint.metadata.at(key);
    if (!rope.is_object()) {
      in->Problem(key, fmt::format("expected an object, found a {}", rope.type_name()));
      continue;
    }
    Parameters nested(rope, fmt::format("{}/config.json: {}", checkpoint.path, key), "");
    if (!has_theta && nested.Has("rope_theta")) {
      spec->set_rope_theta(nested.Positive("rope_theta"));
      has_theta = true;
    }
    const auto type = rope.contains("rope_type") ? rope.find("rope_type") : rope.find("type");
    if (support == RopeSupport::kYarn && type != rope.end() && *type == "yarn") {
      ReadHfYarn(&nested, spec);
    } else if (type != rope.end() && *type != "default") {
      in->Problem(key, fmt::format("scaling the rope by {} is not supported yet", Printable(type->dump())));
    } else if (type == rope.end() && rope.contains("factor")) {
      in->Problem(key, "scaling the rope is not supported yet");
    }
    nested.Check();
  }
  if (!has_theta) in->Problem("rope_theta", "is missing");
}

}  // namespace

void ReadRope(const Checkpoint& checkpoint, RopeSupport support, Parameters* in, ModelSpec* spec) {
  checkpoint.format == CheckpointFormat::kGguf ? ReadGguf(support, in, spec)
                                               : ReadHf(checkpoint, support, in, spec);
}

}  // namespace onecopy
