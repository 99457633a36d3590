// Options that every command with a model shares.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

namespace onecopy::cli {

struct ModelOptions {
  std::string model;     // as given; empty: the model that ships with onecopy
  uint32_t context = 0;  // positions of KV cache; 0: what the command needs
  std::string report;    // where the RunReport goes as JSON; empty: nowhere
  std::string collectives = "shared";
};

// -m alone, for commands that read headers only.
void AddModelOption(CLI::App* app, std::string* model);
// -m, --context, --report, --collectives.
void AddModelOptions(CLI::App* app, ModelOptions* options);

// The path given, or the shipped model's where it is empty. Errors: kBadInput where that is not installed.
std::string ResolveModelPath(const std::string& path);

}  // namespace onecopy::cli
