#include "runtime/text/pretokenizer_table.h"

namespace onecopy::text {
namespace {

// GPT-2 encoder.py.
#define ONECOPY_GPT2 R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"
// tiktoken cl100k_base, as in the tokenizer.json of Llama 3 and Qwen 2; they differ in how many digits make a
// word.
#define ONECOPY_CL100K(digits)                                       \
  R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|)" digits \
  R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
// tiktoken o200k_base.
#define ONECOPY_UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define ONECOPY_LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define ONECOPY_SUFFIX R"((?i:'s|'t|'re|'ve|'m|'ll|'d)?)"
#define ONECOPY_O200K_TAIL(digits) digits R"(| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
#define ONECOPY_O200K(digits)                                                \
  R"([^\r\n\p{L}\p{N}]?)" ONECOPY_UPPER "*" ONECOPY_LOWER "+" ONECOPY_SUFFIX \
  R"(|[^\r\n\p{L}\p{N}]?)" ONECOPY_UPPER "+" ONECOPY_LOWER "*" ONECOPY_SUFFIX "|" ONECOPY_O200K_TAIL(digits)
// DeepSeek-V3 tokenizer.json.
#define ONECOPY_DEEPSEEK3_WORDS                                                              \
  R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|)" \
  R"( ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"
// Kimi-K2 tokenization_kimi.py: Han characters are words of their own.
#define ONECOPY_KIMI_UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]])"
#define ONECOPY_KIMI_LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]])"
// DeepSeek LLM 7B tokenizer.json, which lists the cased letters of Unicode 11 (and not quite all of them).
#define ONECOPY_DEEPSEEK_LETTERS                                                                              \
  R"(A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF})"      \
  R"(\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1})"        \
  R"(\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5})"         \
  R"(\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A})" \
  R"(\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B})"  \
  R"(\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC})"  \
  R"(\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107})"  \
  R"(\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134})"   \
  R"(\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4})"   \
  R"(\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787})"  \
  R"(\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A})" \
  R"(\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2})"        \
  R"(\x{118A0}-\x{118DF}\x{1E900}-\x{1E943})"

constexpr std::string_view kGpt2 = ONECOPY_GPT2;
constexpr std::string_view kLlama3 = ONECOPY_CL100K(R"(\p{N}{1,3})");
constexpr std::string_view kQwen2 = ONECOPY_CL100K(R"(\p{N})");
// BLOOM tokenizer.json.
constexpr std::string_view kBloom = R"( ?[^(\s|.,!?…。，、।۔،)]+)";
constexpr std::string_view kCjk = R"([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)";

// Digits by threes, counted from the end of a run. As published each group looks ahead to the end of the run, in quadratic
// time; here only the first does, and what follows it is a multiple of three.
// (?=(\d{3})+(?!\d)): empty, where a group begins.
constexpr std::string_view kDigitCuts =
    R"((?<!\d)(?=(?:\d{3})++(?!\d))|(?<!\d)\d{1,2}?\K(?=(?:\d{3})++(?!\d))|(?<=\d)\d{2}\K(?=\d{3}))";
// \d{1,3}(?=(?:\d{3})*\b): of a run that a letter follows nothing.
constexpr std::string_view kDigitsBeforeNoLetter =
    R"((?<!\d)\d++(?!\b)(*SKIP)(*FAIL)|(?<!\d)\d{1,3}(?=(?:\d{3})*+\b)|(?<=\d)\d{3})";

constexpr PreTokenizerPreset kPresets[] = {
    {.names = {"gpt-2", "phi-2", "mpt", "olmo", "gigachat", "mellum", "exaone4", "a.x-4.0"},
     .patterns = {kGpt2}},
    {.names = {"jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "modern-bert"}, .patterns = {kGpt2}},
    {.names = {"trillion", "granite-docling", "jais"}, .patterns = {kGpt2}},
    {.names = {"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"},
     .patterns = {R"(\p{N})", kGpt2}},
    {.names = {"falcon"}, .patterns = {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2, "[0-9][0-9][0-9]"}},
    // What llama.cpp does for files that name no pre-tokenizer they know.
    {.names = {"default"}, .patterns = {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
    {.names = {"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"},
     .patterns = {kLlama3},
     .ignore_merges = true,
     .add_bos = true},
    {.names = {"jina-v5-nano"}, .patterns = {kLlama3}, .ignore_merges = true, .add_bos = true},
    {.names = {"dbrx", "smaug-bpe", "chatglm-bpe"}, .patterns = {kLlama3}},
    {.names = {"glm4", "glm5"}, .patterns = {kLlama3}, .ignore_merges = true},
    // MiniCPM5 tokenizer.json, Laguna tokenizer.json.
    {.names = {"minicpm5"},
     .patterns = {R"(\p{N}{1,3})", ONECOPY_CL100K(R"(\p{N}+)")},
     .ignore_merges = true},
    {.names = {"laguna"}, .patterns = {R"([^\n]+|[\n]+)", kQwen2}},
    // Of runs of white space before a word, powers of two are cut off (Jais 2 tokenizer.json).
    {.names = {"jais-2"},
     .patterns =
         {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|)"
          R"(\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|)"
          R"(\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1})"}},
    {.names = {"ufakzeka"},
     .patterns = {R"([^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
    // K-EXAONE tokenizer.json: words that single spaces part are one. Nothing follows the runs, so they need not be given
    // up again: possessive, they take no stack.
    {.names = {"exaone-moe"},
     .patterns =
         {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*+(?: \p{L}\p{M}*+)*+)++|\p{N}|)"
          R"( ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+)"}},
    // Chameleon tokenizer.json, whose sentinels and images are special tokens too.
    {.names = {"chameleon"},
     .patterns = {R"(<sentinel:[0-9]+>)", R"((IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z)", R"(([\t\n]|    |  ))",
                  R"(\p{N})", R"([\p{P}!-/:-@\[-`{-~])", kGpt2},
     .add_bos = true},
    // SuperBPE tokenizer.json.
    {.names = {"superbpe"}, .patterns = {R"(\p{N}+)", kDigitCuts}},
    {.names = {"qwen2"}, .patterns = {kQwen2}, .nfc = true},
    {.names = {"deepseek-r1-qwen", "megrez", "hunyuan", "stablelm2", "solar-open", "grok-2", "kormo",
               "f2llmv2"},
     .patterns = {kQwen2}},
    {.names = {"qwen35"},
     .patterns =
         {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)"
          R"(\s*[\r\n]+|\s+(?!\S)|\s+)"},
     .nfc = true},
    {.names = {"deepseek-llm"},
     // The published "\s+$" begins at the first space of a run in any case; the look-behind spares PCRE2
     // trying, in quadratic time, all the others.
     .patterns = {R"([\r\n])", R"(\s?[)" ONECOPY_DEEPSEEK_LETTERS "]+",
                  R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)",
                  R"((?<!\s)\s+$)", kCjk, R"(\p{N}+)"}},
    {.names = {"deepseek-coder"},
     .patterns = {R"([\r\n])", R"(\s?\p{L}+)", R"(\s?\p{P}+)", kCjk, R"(\p{N})"}},
    {.names = {"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"},
     .patterns = {R"(\p{N}{1,3})", R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)",
                  ONECOPY_DEEPSEEK3_WORDS}},
    // Trinity (AFMoE) tokenizer.json: digits by threes from the end, then scripts that put no spaces between words.
    {.names = {"afmoe"},
     .patterns =
         {R"((?<!\p{N})\p{N}{1,3}(?=(?:\p{N}{3})*+(?!\p{N}))|(?<=\p{N})\p{N}{3})",
          R"([\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{8C48}-\x{FAFF}\x{3040}-\x{309F}\x{30A0}-\x{30FF})"
          R"(\x{FF65}-\x{FF9F}\x{2F00}-\x{2FDF}\x{E40}-\x{E7F}\x{E80}-\x{EFF}\x{1780}-\x{17FF})"
          R"(\x{1000}-\x{109F}\x{AA60}-\x{AA7F}\x{A9E0}-\x{A9FF}\x{AC00}-\x{D7AF}\x{1100}-\x{11FF}]+)",
          ONECOPY_DEEPSEEK3_WORDS}},
    {.names = {"tekken"},
     .patterns = {R"([^\r\n\p{L}\p{N}]?)" ONECOPY_UPPER "*" ONECOPY_LOWER
                  R"(+|[^\r\n\p{L}\p{N}]?)" ONECOPY_UPPER "+" ONECOPY_LOWER
                  "*|" ONECOPY_O200K_TAIL(R"(\p{N})")},
     .ignore_merges = true,
     .add_bos = true},
    {.names = {"gpt-4o", "llama4", "kanana2", "minimax-m2", "talkie"},
     .patterns = {ONECOPY_O200K(R"(\p{N}{1,3})")}},
    // Tiny Aya tokenizer.json: digits by threes from the end, where no letter follows them.
    {.names = {"tiny_aya", "cohere2moe"},
     .patterns = {kDigitsBeforeNoLetter, ONECOPY_O200K(R"(\p{N}{1,3})")}},
    // Youtu-LLM tokenizer.json.
    {.names = {"youtu"},
     .patterns =
         {R"([\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+|[\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018}\x{2019}\x{2014})"
          R"(\x{FF1A}\x{FF1B}\x{FF0C}\x{3001}-\x{303F}\x{FE30}-\x{FE4F}]+|[\x{3105}-\x{312F}]+|)"
          R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)",
          ONECOPY_O200K(R"(\p{N})")},
     .ignore_merges = true},
    {.names = {"bloom", "gpt3-finnish", "poro-chat"}, .patterns = {kBloom}},
    {.names = {"viking"}, .patterns = {kBloom, R"(\p{N})"}},
    {.names = {"kimi-k2"},
     .patterns = {R"([\p{Han}]+|[^\r\n\p{L}\p{N}]?)" ONECOPY_KIMI_UPPER "*" ONECOPY_KIMI_LOWER
                  "+" ONECOPY_SUFFIX R"(|[^\r\n\p{L}\p{N}]?)" ONECOPY_KIMI_UPPER "+" ONECOPY_KIMI_LOWER
                  "*" ONECOPY_SUFFIX R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}},
    {.names = {"bailingmoe", "bailingmoe2", "llada-moe"},
     .patterns =
         {R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|)"
          R"(\s+(?!\S)|\s+)"}},
    {.names = {"seed-coder"},
     .patterns = {R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|)"
                  R"(\s*[\r\n]+|\s+(?!\S)|\s+)"}},
};

#undef ONECOPY_GPT2
#undef ONECOPY_CL100K
#undef ONECOPY_UPPER
#undef ONECOPY_LOWER
#undef ONECOPY_SUFFIX
#undef ONECOPY_O200K_TAIL
#undef ONECOPY_O200K
#undef ONECOPY_DEEPSEEK3_WORDS
#undef ONECOPY_KIMI_UPPER
#undef ONECOPY_KIMI_LOWER
#undef ONECOPY_DEEPSEEK_LETTERS

}  // namespace

const PreTokenizerPreset* FindPreTokenizer(std::string_view name) {
  if (name.empty()) return nullptr;
  for (const PreTokenizerPreset& preset : kPresets) {
    for (const std::string_view known : preset.names) {
      if (known == name) return &preset;
    }
  }
  return nullptr;
}

std::vector<PreTokenizerStep> StepsOf(const PreTokenizerPreset& preset) {
  std::vector<PreTokenizerStep> steps;
  for (const std::string_view pattern : preset.patterns) {
    if (pattern.empty()) continue;
    steps.push_back({PreTokenizerStep::Kind::kIsolate,
                     Regex(pattern, "pre-tokenizer " + std::string(preset.names[0])),
                     {}});
  }
  return steps;
}

const PreTokenizerPreset* FindPreTokenizerLike(const std::vector<PreTokenizerStep>& steps, bool ignore_merges,
                                               bool nfc, std::string_view probe) {
  RegexScratch scratch;
  const Words words = SplitIntoWords(steps, probe, /*at_start=*/true, scratch);
  for (const PreTokenizerPreset& preset : kPresets) {
    if (preset.ignore_merges != ignore_merges || preset.nfc != nfc) continue;
    RegexScratch own;
    if (SplitIntoWords(StepsOf(preset), probe, true, own).pieces == words.pieces) return &preset;
  }
  return nullptr;
}

const char* WhatPreTokenizerNeeds(std::string_view name) {
  // None of these belongs to a family of models that can be run here.
  constexpr const char* kCharacters = "its merges join characters, with spaces written as U+2581, not bytes";
  constexpr const char* kEncoder = "it is of a model of embeddings, which puts separators around texts";
  constexpr std::pair<std::string_view, const char*> kKnown[] = {{"gemma4", kCharacters},
                                                                 {"sarvam-moe", kCharacters},
                                                                 {"granite-embed-multi-311m", kCharacters},
                                                                 {"whitespace", kEncoder},
                                                                 {"jina-v1-en", kEncoder},
                                                                 {"jina-v2-code", kEncoder},
                                                                 {"roberta-bpe", kEncoder},
                                                                 {"granite-embed-multi-97m", kEncoder}};
  for (const auto& [known, needs] : kKnown)
    if (known == name) return needs;
  return nullptr;
}

std::string PreTokenizerNames() {
  std::string out;
  for (const PreTokenizerPreset& preset : kPresets) {
    for (const std::string_view name : preset.names) {
      if (name.empty()) continue;
      if (!out.empty()) out += ", ";
      out += name;
    }
  }
  return out;
}

}  // namespace onecopy::text
