// A text to tokens and back, with every published pre-tokenizer (the first byte) and with sentencepiece's way.
#include "runtime/base/printable.h"
#include "runtime/text/detokenizer.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/utf8.h"
#include "tests/fuzz/support.h"
#include "tests/fuzz/vocabularies.h"

namespace onecopy::fuzz {
namespace {

// One of each row of runtime/text/pretokenizer_table.cc; those with `normalises` change the text.
constexpr struct {
  const char* name;
  bool normalises = false;
} kPreTokenizers[] = {{"gpt-2"},        {"trillion"},     {"starcoder"},      {"falcon"},
                      {"default"},      {"llama-bpe"},    {"dbrx"},           {"glm4"},
                      {"minicpm5"},     {"laguna"},       {"qwen2", true},    {"deepseek-r1-qwen"},
                      {"qwen35", true}, {"deepseek-llm"}, {"deepseek-coder"}, {"deepseek-v3"},
                      {"tekken"},       {"gpt-4o"},       {"bloom"},          {"viking"},
                      {"kimi-k2"},      {"bailingmoe"},   {"seed-coder"}};

const text::Tokenizer& TokenizerNumber(size_t number) {
  static const std::vector<text::Tokenizer> all = [] {
    const std::vector<std::string_view> merges = {"t h", "th e", "Ġ the", "a a", "aa aa", "aaaa aaaa",
                                                  "l l", "Ġ Ġ",  "ĠĠ ĠĠ", "Ċ Ċ", "Ã ©",   "1 2"};
    std::vector<text::Tokenizer> made;
    for (const auto& [name, normalises] : kPreTokenizers)
      made.push_back(
          text::Tokenizer::FromGguf(ByteLevelMetadata(name, merges, {"<|im_start|>", "<|im_end|>"})));
    made.push_back(text::Tokenizer::FromGguf(SentencePieceMetadata()));
    return made;
  }();
  return all[number % all.size()];
}

}  // namespace
}  // namespace onecopy::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace onecopy;        // NOLINT
  using namespace onecopy::fuzz;  // NOLINT
  std::string_view text = View(data, size);
  const auto number = TakeNumber<uint8_t>(&text);
  const text::Tokenizer& tokenizer = TokenizerNumber(number);
  const size_t row = number % (std::size(kPreTokenizers) + 1);
  const bool sentence_piece = row == std::size(kPreTokenizers);
  const bool normalises = !sentence_piece && kPreTokenizers[row].normalises;
  const Budget budget(2, (8 << 20) + 1000 * size);
  for (const bool special : {false, true}) {
    std::vector<int32_t> ids;
    if (!Takes([&] { ids = tokenizer.Encode(text, {.add_special = false, .parse_special = special}); }))
      return 0;
    Require(ids.size() <= 3 * text.size() + 1, "{} bytes became {} tokens", text.size(), ids.size());
    for (const int32_t id : ids) Require(id >= 0 && id < tokenizer.vocab_size(), "token {}", id);
    const std::string back = tokenizer.Decode(ids, false);
    Require(IsUtf8(back), "decoded to something that is no text");
    text::Detokenizer stream(tokenizer, {.skip_special = false, .at_text_start = true});
    std::string streamed;
    for (const int32_t id : ids) streamed += stream.Push(id);
    streamed += stream.Flush();
    Require(streamed == back, "a stream says \"{}\", the whole \"{}\"", Printable(streamed), Printable(back));
    if (normalises) continue;
    std::string expected = text::ReplaceInvalidUtf8(text);
    // sentencepiece writes a space so, and knows no other meaning of it.
    if (sentence_piece)
      for (size_t at; (at = expected.find("\u2581")) != std::string::npos;) expected.replace(at, 3, " ");
    Require(back == expected, "\"{}\" comes back as \"{}\"", Printable(expected, 400), Printable(back, 400));
  }
  return 0;
}
