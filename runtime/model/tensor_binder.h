// Which tensor of a checkpoint is which weight of a model, by a family's rows (model_spec.h).
#pragma once

#include <cstdint>
#include <string>

#include "proto/model.pb.h"
#include "runtime/model/checkpoint.h"
#include "runtime/model/model_spec.h"

namespace onecopy {

// "blk.{L}.ffn_up.{E}.weight" for a layer and an expert; patterns may lack either.
std::string NameInLayer(std::string pattern, uint32_t layer, uint32_t expert);

// Adds the weights of `family` to spec, whose hyper-parameters are read, each with the place of its data in the files. Throws
// kBadInput, once for all of them, where tensors are missing, have another shape or a type that nothing multiplies, or where one is
// left over that other programs add or multiply by. Not re-entrant for one spec.
void BindTensors(const Checkpoint& checkpoint, const Family& family, proto::ModelSpec* spec);

}  // namespace onecopy
