// A model in a few words, from its headers: family, parameters, types of its tensors, and what keeps it from running.
// Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "runtime/model/checkpoint.h"

namespace onecopy {

// {"family", "parameters", "active_parameters", "context_length", "types": [{"type", "bytes", "share"}], "problem"}.
// active_parameters: all but the experts that a token does not choose. types: the most bytes first. problem: why the model
// cannot be run, or null. Of a model that is not supported at all, family is null, parameters counts the elements of the
// tensors, and the others are absent. Never throws for what a file says.
nlohmann::json Summarize(const Checkpoint& checkpoint);

// The same as lines of text, each ending with a newline.
std::string SummaryAsText(const nlohmann::json& summary);

}  // namespace onecopy
