// Tables of kernels by name, for tests that take any or one that every machine has.
#pragma once

#include <string>

#include "kernels/registry.h"

namespace onecopy::test {

inline const kernels::KernelTable& RefTable() {
  std::string error;
  return *kernels::SelectTable("ref", &error);
}

// The one that a user of this machine gets.
inline const kernels::KernelTable& AnyTable() {
  std::string error;
  return *kernels::SelectTable("", &error);
}

}  // namespace onecopy::test
