#include "runtime/cli/model_options.h"

#include <filesystem>

#include "runtime/base/error.h"

namespace onecopy::cli {

void AddModelOption(CLI::App* app, std::string* model) {
  app->add_option(
         "-m,--model", *model,
         "GGUF file (the first of a split set) or Hugging Face directory; default: the model that ships "
         "with onecopy")
      ->type_name("MODEL");
}

void AddModelOptions(CLI::App* app, ModelOptions* options) {
  AddModelOption(app, &options->model);
  app->add_option("--context", options->context, "positions of KV cache to keep; default: what is needed")
      ->type_name("TOKENS");
  app->add_option("--report", options->report, "write what this run measured of itself, as JSON")
      ->type_name("FILE");
}

std::string ResolveModelPath(const std::string& path) {
  if (!path.empty()) return path;
  namespace fs = std::filesystem;
  std::error_code error;
  const fs::path here = fs::read_symlink("/proc/self/exe", error).parent_path();
  constexpr const char* kName = "tiny-moe-q8_0.gguf";
  for (const fs::path& folder : {here / ".." / ".." / "models", here / ".." / "share" / "onecopy" / "models",
                                 fs::path(ONECOPY_MODELS_DIR)})
    if (fs::exists(folder / kName, error)) return (folder / kName).lexically_normal().string();
  Fail(ErrorCode::kBadInput, "the default model {} was not found beside {}; give a model with -m", kName,
       here.string());
}

}  // namespace onecopy::cli
