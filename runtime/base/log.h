// Log lines for people, on stderr. stdout carries results only. Thread-safe.
#pragma once

#include <spdlog/spdlog.h>

#include <string>

namespace onecopy::log {

// Call once per process. Other ranks than 0 print warnings and errors only, with a prefix "rank R: ".
void Init(int rank, int ranks, bool verbose);

using spdlog::debug;
using spdlog::error;
using spdlog::info;
using spdlog::warn;

}  // namespace onecopy::log
