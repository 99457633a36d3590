// A checkpoint in words: what `onecopy inspect` prints.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "runtime/model/checkpoint.h"

namespace onecopy {

// Aligned tables of metadata and tensors; long values and lists are shortened, control characters made
// visible.
std::string DescribeAsText(const Checkpoint& checkpoint);

// {"path", "format", "files": [{"path", "bytes"}], "data_absent", "metadata": {…}, "tensors": [{"name", "type", "shape",
// "bytes", "file", "offset"}]}. A list of more than eight elements in the metadata is {"length": n, "first":
// [eight]}.
nlohmann::json DescribeAsJson(const Checkpoint& checkpoint);

}  // namespace onecopy
