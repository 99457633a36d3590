#include "runtime/cli/model_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <functional>

#include "runtime/base/error.h"
#include "runtime/base/file.h"
#include "runtime/base/sizes.h"
#include "runtime/cli/quantize_recipe.h"
#include "runtime/model/model_spec.h"

namespace onecopy::cli {

void AddModelOption(CLI::App* app, std::string* model) {
  app->add_option(
         "-m,--model", *model,
         "GGUF file (the first of a split set) or Hugging Face directory; default: the model that ships "
         "with onecopy")
      ->type_name("MODEL");
}

void AddWeightsOption(CLI::App* app, std::string* weights) {
  app->add_option("--weights", *weights,
                  "quantise matrices while loading, as `quantize --type` would: one of " +
                      QuantizeRecipeNames() + "; default: they stay as the files have them")
      ->type_name("TYPE")
      ->group("Memory");
}

proto::ModelSpec SpecOf(const Checkpoint& checkpoint, const std::string& weights) {
  proto::ModelSpec spec = BuildModelSpec(checkpoint);
  if (!weights.empty()) QuantizeWhileLoading(checkpoint, FindQuantizeRecipe(weights, "--weights"), &spec);
  return spec;
}

void AddKvTypeOption(CLI::App* app, kernels::KvType* type) {
  app->add_option_function<std::string>(
         "--kv-type",
         [type](const std::string& text) {
           if (text != "f16" && text != "q8_0")
             throw CLI::ValidationError("--kv-type", "'" + text + "' is not one of f16|q8_0");
           *type = text == "f16" ? kernels::KvType::kF16 : kernels::KvType::kQ8_0;
         },
         "keys and values in the KV cache: f16 (default), or q8_0, 8 bits in blocks of 32, in about half the "
         "memory")
      ->type_name("f16|q8_0")
      ->group("Memory");
}

void AddSumsOption(CLI::App* app, bool* quick) {
  app->add_option_function<std::string>(
         "--sums",
         [quick](const std::string& text) {
           if (text != "exact" && text != "quick")
             throw CLI::ValidationError("--sums", "'" + text + "' is not one of exact|quick");
           *quick = text == "quick";
         },
         "how ranks add up their parts of sums: exact (default), in double, the same bits with any number of "
         "ranks; quick, in float where kernels can (avx2; amx for prompts), which reads prompts 10 to 25 % "
         "faster")
      ->type_name("exact|quick")
      ->group("Ranks");
}

void AddModelOptions(CLI::App* app, ModelOptions* options) {
  AddModelOption(app, &options->model);
  AddWeightsOption(app, &options->weights);
  app->add_option("--context", options->context, "positions of KV cache to keep; default: what is needed")
      ->type_name("TOKENS");
  AddKvTypeOption(app, &options->kv_type);
  AddSumsOption(app, &options->quick_sums);
  app->add_option("--report", options->report, "write what this run measured of itself, as JSON")
      ->type_name("FILE");
  app->add_flag(
         "--distribute", options->distribute,
         "several hosts: one that lacks the model's files gets its part from those that have them, by MPI")
      ->group("Hosts");
  const auto add = [&](const char* name, const char* help, const std::function<bool(const std::string&)>& set,
                       const char* values) {
    app->add_option_function<std::string>(
           name,
           [name, set, values](const std::string& text) {
             if (!set(text)) throw CLI::ValidationError(name, "'" + text + "' is not one of " + values);
           },
           help)
        ->type_name(values)
        ->group("Memory");
  };
  add(
      "--balance", "how large each rank's part is: even, by the memory of its node, or by its bandwidth",
      [options](const std::string& text) {
        const auto balance = shard::ParseBalance(text);
        if (balance) options->balance = *balance;
        return balance.has_value();
      },
      "even|memory|bandwidth");
  app->add_option("--bandwidth", options->bandwidth,
                  "read bandwidth of each rank's node, e.g. 46GB/s or 46GB/s,23GB/s, for --balance "
                  "bandwidth; default: "
                  "measured at start")
      ->type_name("LIST")
      ->group("Memory");
  add(
      "--hugepages",
      "pages of weights and KV cache: transparent huge pages (default), a pool's, or 4 KiB ones",
      [options](const std::string& text) {
        const auto pages = numa::ParseHugePages(text);
        if (pages) options->memory.pages = *pages;
        return pages.has_value();
      },
      "thp|2m|1g|off");
  app->add_flag("--mlock", options->memory.lock, "lock weights and KV cache in memory: never swapped")
      ->group("Memory");
  app->add_option_function<std::string>(
         "--pipeline",
         [options](const std::string& text) {
           const bool is_number =
               !text.empty() && text.size() < 5 && text.find_first_not_of("0123456789") == std::string::npos;
           options->pipeline = is_number ? std::stoi(text) : 0;
           if (text != "auto" && options->pipeline < 1)
             throw CLI::ValidationError("--pipeline", "'" + text + "' is neither auto nor a number from 1");
         },
         "stages that have a range of the layers each, one after the other; 1: all ranks share every layer; "
         "default: auto, over several hosts what is predicted to be quicker")
      ->type_name("auto|N")
      ->group("Hosts");
  app->add_option("--link", options->link,
                  "latency and bandwidth between hosts, e.g. 25us,1.2GB/s, for --pipeline auto; default: "
                  "measured at start")
      ->type_name("LIST")
      ->group("Hosts");
  app->add_flag("--replicate", options->replicate,
                "a full copy of the model on every rank, only to compare with")
      ->group("Debugging");
}

std::vector<double> ParseBandwidths(const std::string& text, int ranks) {
  std::vector<double> out;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    std::string item = text.substr(begin, comma - begin);
    if (item.size() > 2 && item.compare(item.size() - 2, 2, "/s") == 0) item.resize(item.size() - 2);
    out.push_back(static_cast<double>(ParseBytes(item)));
    begin = comma + 1;
  }
  if (out.size() == 1) out.resize(static_cast<size_t>(ranks), out[0]);
  if (out.size() != static_cast<size_t>(ranks))
    Fail(ErrorCode::kUsage, "--bandwidth {}: expected one value, or one for each of {} ranks", text, ranks);
  return out;
}

comm::LinkRate ParseLink(const std::string& text) {
  comm::LinkRate link;
  double latency = 0;
  char unit[4] = {}, rest[32] = {};
  const int n = std::sscanf(text.c_str(), "%lf%3[a-z],%31s", &latency, unit, rest);
  const std::string name = unit;
  const double scale = name == "us" ? 1e-6 : name == "ms" ? 1e-3 : name == "s" ? 1 : name == "ns" ? 1e-9 : 0;
  if (n != 3 || !(latency > 0) || scale == 0)
    Fail(ErrorCode::kUsage, "--link {}: expected a latency and a bandwidth, such as 25us,1.2GB/s", text);
  return {latency * scale, ParseBandwidths(rest, 1)[0]};
}

std::string ResolveModelPath(const std::string& path) {
  if (!path.empty()) return path;
  std::string shipped = FindShipped({"models/tiny-moe-q8_0.gguf", "share/onecopy/models/tiny-moe-q8_0.gguf"});
  if (shipped.empty())
    Fail(ErrorCode::kBadInput,
         "the default model tiny-moe-q8_0.gguf is neither in models/ nor in share/onecopy/models/ above this "
         "program's folder; give a model with -m");
  return shipped;
}

}  // namespace onecopy::cli
