// Continues a text with a model that is in memory once over all ranks; the text goes to stdout, the token ids to stderr.
//   generate MODEL TEXT NUMBER_OF_TOKENS
//   mpirun -n 2 --bind-to none -x ONECOPY_BIND=numa generate MODEL TEXT NUMBER_OF_TOKENS
#include <onecopy/runtime.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: generate MODEL TEXT NUMBER_OF_TOKENS\n");
    return 2;
  }
  const std::string text = argv[2];
  const auto n = static_cast<uint32_t>(std::atoi(argv[3]));

  // Every rank comes here; the body is called on rank 0 alone, while the others compute with it.
  return onecopy::api::Run({.model = argv[1], .show_place = true}, [&](onecopy::api::Model& model) {
    std::vector<int32_t> tokens;
    model.Generate(model.Encode(text), n, {}, [&](int32_t token) {
      if (model.IsEnd(token)) return false;
      tokens.push_back(token);
      return true;
    });
    std::printf("%s%s\n", text.c_str(), model.Decode(tokens).c_str());
    for (const int32_t token : tokens) std::fprintf(stderr, "%d ", token);
    std::fprintf(stderr, "\n");
  });
}
