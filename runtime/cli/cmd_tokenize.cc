// onecopy tokenize: the token ids of a text. Reads headers only, so a GGUF file with nothing but a vocabulary
// will do. Rank 0 reads and prints; the others only learn whether that worked.
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "runtime/cli/command.h"
#include "runtime/cli/model_options.h"
#include "runtime/cli/tokenizer_source.h"
#include "runtime/text/utf8.h"

namespace onecopy::cli {
namespace {

struct TokenizeOptions {
  std::string model;
  std::string prompt;
  std::string file;
  bool no_special = false;
  bool json = false;
};

std::string ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text;
  char buffer[1 << 16];
  // By read(), which sets badbit where the iterators would throw (a directory).
  while (file.read(buffer, sizeof(buffer)) || file.gcount() > 0) text.append(buffer, file.gcount());
  if (!file.is_open() || file.bad()) Fail(ErrorCode::kBadInput, "{}: the text file cannot be read", path);
  return text;
}

// Ids with commas, which is what --tokens of the other commands takes; or ids and pieces as JSON.
std::string Format(const text::Tokenizer& tokenizer, const std::vector<int32_t>& ids, bool json) {
  if (!json) return fmt::format("{}\n", fmt::join(ids, ","));
  nlohmann::json pieces = nlohmann::json::array();
  for (const int32_t id : ids) pieces.push_back(text::ReplaceInvalidUtf8(tokenizer.Piece(id)));
  return nlohmann::json{{"tokens", ids}, {"pieces", pieces}}.dump() + "\n";
}

void Tokenize(const TokenizeOptions& options) {
  const text::Tokenizer tokenizer = MakeTokenizer(OpenCheckpoint(ResolveModelPath(options.model)));
  const std::string text = options.file.empty() ? options.prompt : ReadText(options.file);
  const bool special = !options.no_special;
  const std::vector<int32_t> ids = tokenizer.Encode(text, {.add_special = special, .parse_special = special});
  Print(Format(tokenizer, ids, options.json));
}

}  // namespace

Command TokenizeCommand() {
  auto options = std::make_shared<TokenizeOptions>();
  Command command;
  command.name = "tokenize";
  command.summary = "token ids of a text";
  command.examples =
      "  onecopy tokenize -m model.gguf -p 'Hello world'\n  onecopy tokenize -m model.gguf -f text.txt "
      "--json\n";
  command.add_options = [options](CLI::App* app) {
    AddModelOption(app, &options->model);
    CLI::Option_group* text = app->add_option_group("Text");
    text->add_option("-p,--prompt", options->prompt, "the text");
    text->add_option("-f,--file", options->file, "the file with the text");
    text->require_option(1);
    app->add_flag("--no-special", options->no_special,
                  "add no BOS or EOS, and read special tokens as plain text");
    app->add_flag("--json", options->json, "print one JSON object with tokens and pieces");
  };
  command.run = [options](comm::Communicator& comm, const Seat&) {
    std::optional<Error> error;
    if (comm.rank() == 0) {
      try {
        Tokenize(*options);
      } catch (const Error& e) {
        error = e;
      }
    }
    comm.Agree("tokenize", error ? &*error : nullptr);
  };
  return command;
}

}  // namespace onecopy::cli
