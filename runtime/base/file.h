// Whole files in and out.
#pragma once

#include <initializer_list>
#include <string>

namespace onecopy {

// Errors: kBadInput naming path and reason.
std::string ReadTextFile(const std::string& path);

// Whole or not at all (new_file.h), but where the path is a pipe or device. Errors: kBadInput naming path and reason.
void WriteFile(const std::string& path, const std::string& text);

// What ships with the program: the first of `names` that is there, looked for in the program's folder and in those above it:
// the tree it was built in, or the place it is installed to. Not in or above a folder where everybody may put things
// of their own, such as /tmp. Empty where there is none.
std::string FindShipped(std::initializer_list<const char*> names);
// The same from another folder than the program's.
std::string FindShipped(const std::string& folder, std::initializer_list<const char*> names);

}  // namespace onecopy
