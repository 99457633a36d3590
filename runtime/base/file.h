// Whole files in and out.
#pragma once

#include <string>

namespace onecopy {

// Errors: kBadInput naming path and reason.
std::string ReadTextFile(const std::string& path);

// Writes through a temporary name, so that a reader never sees half a file. Errors: kBadInput naming path and reason.
void WriteFile(const std::string& path, const std::string& text);

}  // namespace onecopy
