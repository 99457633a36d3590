// Rotary positions in the spelling of both formats: the base, and its scaling.
// Sources: llama.cpp's keys rope.scaling.* (gguf-py, constants.py); transformers' rope_scaling and rope_parameters
// (modeling_rope_utils); the defaults of absent values are theirs.
#include <fmt/format.h>

#include <cmath>
#include <set>
#include <string>

#include "runtime/base/printable.h"
#include "runtime/model/families/families.h"
#include "runtime/model/json_file.h"

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
  scaling->set_attention_factor(YarnTemperature(scaling->factor(), 1) *
                                in->PositiveOr("rope.scaling.attn_factor", 1));
  // The converter writes 0.1 * mscale_all_dim here.
  const float temperature =
      YarnTemperature(scaling->factor(), in->NumberOr("rope.scaling.yarn_log_multiplier", 0) / 0.1);
  scaling->set_softmax_factor(temperature * temperature);
  if (in->NumberOr("rope.scaling.yarn_ext_factor", 1) != 1)
    in->Problem("rope.scaling.yarn_ext_factor", "another than 1 is not supported yet");
}

void ReadRopeGguf(Parameters* in, ModelSpec* spec) {
  spec->set_rope_theta(in->PositiveOr("rope.freq_base", 10000));
  const std::string kind = in->TextOr("rope.scaling.type", "linear");
  if (kind == "none") return;
  if (kind == "yarn") return ReadGgufYarn(in, spec);
  const char* key = in->Has("rope.scaling.factor") ? "rope.scaling.factor" : "rope.scale_linear";
  const float factor = in->NumberOr(key, 0) == 0 ? 1 : in->Positive(key);
  if (kind != "linear") {
    in->Problem("rope.scaling.type",
                fmt::format("{} is not supported yet: expected none, linear or yarn", Printable(kind)));
  } else if (factor != 1) {
    spec->mutable_rope_scaling()->set_kind(RopeScaling::LINEAR);
    spec->mutable_rope_scaling()->set_factor(factor);
  }
}

void ReadHfYarn(Parameters* rope, ModelSpec* spec) {
  RopeScaling* scaling = spec->mutable_rope_scaling();
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

void ReadHfLlama3(Parameters* rope, ModelSpec* spec) {
  RopeScaling* scaling = spec->mutable_rope_scaling();
  scaling->set_factor(rope->Positive("factor"));
  scaling->set_low_freq_factor(rope->Positive("low_freq_factor"));
  scaling->set_high_freq_factor(rope->Positive("high_freq_factor"));
  scaling->set_original_context_length(rope->Count("original_max_position_embeddings", 1, kMaxContext));
  if (scaling->high_freq_factor() < scaling->low_freq_factor())
    rope->Problem("high_freq_factor", fmt::format("expected at least low_freq_factor, {}, found {}",
                                                  scaling->low_freq_factor(), scaling->high_freq_factor()));
}

void ReadHfLinear(Parameters* rope, ModelSpec* spec) {
  spec->mutable_rope_scaling()->set_factor(rope->Positive("factor"));
}

// The positions of config.json are those of the training, which it goes beyond.
void ReadHfDynamic(Parameters* rope, ModelSpec* spec) {
  RopeScaling* scaling = spec->mutable_rope_scaling();
  scaling->set_factor(rope->Positive("factor"));
  scaling->set_original_context_length(spec->context_length());
  if (scaling->factor() < 1)
    rope->Problem("factor", fmt::format("expected at least 1, found {}", scaling->factor()));
  const double stretched = double{scaling->factor()} * spec->context_length();
  spec->set_context_length(static_cast<uint32_t>(std::min<double>(stretched, kMaxContext)));
}

struct HfScaling {
  const char* type;
  RopeScaling::Kind kind;
  void (*read)(Parameters* rope, ModelSpec* spec);
};
constexpr HfScaling kHfScalings[] = {{"yarn", RopeScaling::YARN, ReadHfYarn},
                                     {"llama3", RopeScaling::LLAMA3, ReadHfLlama3},
                                     {"linear", RopeScaling::LINEAR, ReadHfLinear},
                                     {"dynamic", RopeScaling::DYNAMIC_NTK, ReadHfDynamic}};

// All that such an object says is of the angles. Harmless: what others read, positions of pictures, and factors of 1.
void RefuseUnreadScaling(Parameters* rope) {
  static const std::set<std::string> kHarmless = {"type",
                                                  "rope_type",
                                                  "rope_theta",
                                                  "partial_rotary_factor",
                                                  "mrope_section",
                                                  "mrope_interleaved",
                                                  "original_max_position_embeddings",
                                                  "max_position_embeddings",
                                                  "finetuned"};
  for (const std::string& key : rope->Unread())
    if (!kHarmless.contains(key) && *rope->Value(key) != false && *rope->Value(key) != 1)
      rope->Problem(key,
                    fmt::format("{} is not supported with this rope_type", ShownJson(*rope->Value(key))));
}

// `rope`: the object that config.json has under `key`.
void ReadHfScaling(const nlohmann::json& rope, const char* key, Parameters* nested, Parameters* in,
                   ModelSpec* spec) {
  const auto type = rope.contains("rope_type") ? rope.find("rope_type") : rope.find("type");
  if (type == rope.end()) {
    for (const auto& [name, value] : rope.items())
      if (value.is_object())
        return in->Problem(
            key, fmt::format("rope that differs from layer to layer ({}) is not supported in this family",
                             Printable(name)));
    if (rope.contains("factor")) return in->Problem(key, "has a factor but no rope_type");
    return RefuseUnreadScaling(nested);
  }
  if (*type == "default") return RefuseUnreadScaling(nested);
  for (const HfScaling& scaling : kHfScalings) {
    if (*type != scaling.type) continue;
    spec->mutable_rope_scaling()->set_kind(scaling.kind);
    scaling.read(nested, spec);
    return RefuseUnreadScaling(nested);
  }
  in->Problem(
      key,
      fmt::format("scaling the rope by {} is not supported yet: expected yarn, llama3, linear or dynamic",
                  ShownJson(*type)));
}

// Transformers 5 writes rope_parameters {rope_theta, rope_type, …}, earlier versions rope_theta and rope_scaling.
void ReadRopeHf(const Checkpoint& checkpoint, float default_theta, Parameters* in, ModelSpec* spec) {
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
    if (spec->rope_scaling().kind() == RopeScaling::NONE) ReadHfScaling(rope, key, &nested, in, spec);
    nested.Check();
  }
  if (has_theta) return;
  if (default_theta == 0) in->Problem("rope_theta", "is missing");
  spec->set_rope_theta(default_theta == 0 ? 1 : default_theta);
}

}  // namespace

void ReadRope(const Checkpoint& checkpoint, Parameters* in, ModelSpec* spec, float hf_theta) {
  checkpoint.format == CheckpointFormat::kGguf ? ReadRopeGguf(in, spec)
                                               : ReadRopeHf(checkpoint, hf_theta, in, spec);
}

// Transformers 5 has it in rope_parameters, earlier versions beside them.
double HfRotaryShare(const Checkpoint& checkpoint, Parameters* in, double fallback) {
  double share = in->NumberOr("partial_rotary_factor", fallback);
  const auto rope = checkpoint.metadata.find("rope_parameters");
  if (rope != checkpoint.metadata.end() && rope->is_object()) {
    Parameters nested(*rope, checkpoint.path + "/config.json: rope_parameters", "");
    share = nested.NumberOr("partial_rotary_factor", share);
    nested.Check();
  }
  if (share > 0 && share <= 1) return share;
  in->Problem("partial_rotary_factor",
              fmt::format("expected a number above 0 and at most 1, found {}", share));
  return 1;
}

}  // namespace onecopy
