// Options that every command with a model shares.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernels.h"
#include "proto/model.pb.h"
#include "runtime/comm/link_rate.h"
#include "runtime/model/checkpoint.h"
#include "runtime/numa/arena.h"
#include "runtime/shard/balance.h"

namespace CLI {
class App;
}

namespace onecopy::cli {

struct ModelOptions {
  std::string model;     // as given; empty: the model that ships with onecopy
  std::string weights;   // recipe by which matrices are quantised while loading; empty: they stay as they are
  uint32_t context = 0;  // positions of KV cache; 0: what the command needs
  kernels::KvType kv_type = kernels::KvType::kF16;  // of its elements: kF16 (the kernel table's own) or kQ8_0
  bool quick_sums = false;                          // kernels::WithQuickSums
  std::string report;                               // where the RunReport goes as JSON; empty: nowhere
  std::string collectives = "shared";
  shard::Balance balance = shard::Balance::kEven;
  std::string bandwidth;  // "46GB/s", or one a rank with commas; empty: measured where needed
  numa::ArenaOptions memory;
  int pipeline = 0;         // stages; 0: as predicted to be the quickest
  std::string link;         // "25us,1.2GB/s" between hosts; empty: measured where needed
  bool distribute = false;  // hosts without the files get their part from hosts that have them
  bool replicate = false;   // every rank holds a full copy, to compare
};

// -m alone, for commands that read headers only.
void AddModelOption(CLI::App* app, std::string* model);
// --weights.
void AddWeightsOption(CLI::App* app, std::string* weights);
// --kv-type.
void AddKvTypeOption(CLI::App* app, kernels::KvType* type);
// --sums.
void AddSumsOption(CLI::App* app, bool* quick);
// -m, --weights, --context, --kv-type, --sums, --report, and how the model is laid over the nodes.
void AddModelOptions(CLI::App* app, ModelOptions* options);

// BuildModelSpec, with matrices quantised as --weights says. Errors: as BuildModelSpec; kUsage, kBadInput of the recipe.
proto::ModelSpec SpecOf(const Checkpoint& checkpoint, const std::string& weights);

// "46GB/s" or "46GB/s,23GB/s" in bytes a second, one for each of `ranks` ranks. Errors: kUsage.
std::vector<double> ParseBandwidths(const std::string& text, int ranks);

// "25us,1.2GB/s". Errors: kUsage.
comm::LinkRate ParseLink(const std::string& text);

// The path given, or the shipped model's where it is empty. Errors: kBadInput where that is not installed.
std::string ResolveModelPath(const std::string& path);

}  // namespace onecopy::cli
