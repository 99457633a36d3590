// MetadataOfTokenizerJson: a tokenizer.json as the keys of a GGUF file. What those cannot say is refused: left out, the file
// would give other ids than the directory. Source: llama.cpp's convert_hf_to_gguf.py (get_vocab_base).
#include <algorithm>
#include <string>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"
#include "runtime/text/json_field.h"
#include "runtime/text/pretokenizer_table.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/tokenizer_hf_steps.h"
#include "runtime/text/vocabulary.h"
#include "runtime/text/vocabulary_files.h"

namespace onecopy::text {
namespace {

const std::string kFile = "tokenizer.json";
const std::string kPrefix = "tokenizer.ggml.";

// What pre-tokenizers differ in: contractions, runs of digits, spaces and line ends, marks, scripts, cases, punctuation.
constexpr std::string_view kProbe =
    "It's WE'LL I'd they'Ve  don'tSayHTMLCode aB iPhone XMLHttp 1 12 123 1234 123456 3.14 a1b22c333 "
    "x=y+z; (foo)[bar]{baz} \"q\" 'r' `s` $t <u> ^v ~w |x| #y @z %a &b *c -d _e \\f //g/h?\n"
    "\n\n \n  \tif x:\n\t\treturn  \r\n\r\n   end   .\n/ !!\n?? ...\n ---\n"
    "\xE4\xB8\xAD\xE6\x96\x87\xE5\xAD\x97"
    "12\xE5\xAD\x97 \xE3\x81\xB2\xE3\x82\x89\xE3\x81\x8C\xE3\x81\xAA "
    "\xE3\x82\xAB\xE3\x83\xBC \xED\x95\x9C\xEA\xB8\x80 a\xE4\xB8\xAD"
    "b \xE3\x80\x82\xEF\xBC\x8C "
    "\xD0\x9F\xD1\x80\xD0\xB8\xD0\xB2\xD0\xB5\xD1\x82 \xD9\x85\xD8\xB1\xD8\xAD\xD8\xA8\xD8\xA7 "
    "\xE0\xA4\xA8\xE0\xA4\xAE\xE0\xA4\xB8\xE0\xA5\x8D\xE0\xA4\xA4\xE0\xA5\x87 e\xCC\x81t\xCC\x81 \xC3\xA9 "
    "\xE2\x82\xAC"
    "5 \xC2\xB2\xC2\xBD \xD9\xA1\xD9\xA2 \xF0\x9F\x98\x80\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD "
    "\xC2\xA0x \xE2\x80\x9Cq\xE2\x80\x9D \xE2\x80\x94 ok   ";

std::string NameOfPreTokenizer(const Json& tokenizer, const Json& model) {
  const PreTokenizerSpec spec = ReadPreTokenizer(tokenizer);
  if (!spec.byte_level)
    Fail(ErrorCode::kBadInput,
         "{}: pre_tokenizer: expected a byte-level one, which GGUF has a kind of vocabulary for; put the "
         "model's "
         "tokenizer.model beside it",
         kFile);
  bool nfc = false;
  for (const NormalizerStep& step : ReadNormalizer(tokenizer)) {
    nfc = step.kind == NormalizerStep::Kind::kNfc;
    if (!nfc) Fail(ErrorCode::kBadInput, "{}: normalizer: expected none or NFC, found another", kFile);
  }
  const bool ignore_merges = BoolField(model, "ignore_merges", false, kFile + ": model");
  if (const auto* preset = FindPreTokenizerLike(spec.steps, ignore_merges, nfc, kProbe))
    return std::string(preset->names[0]);
  Fail(ErrorCode::kBadInput,
       "{}: pre_tokenizer: it cuts texts in another way than those that GGUF files name: {}", kFile,
       PreTokenizerNames());
}

void AddTokens(const Json& tokenizer, uint32_t vocab_size, Json* metadata) {
  std::vector<std::string> text;
  std::vector<TokenKind> kind;
  const auto set = [&](const Json& id_field, const std::string& token, TokenKind token_kind) {
    const int32_t id = TokenId(id_field, vocab_size, [&] { return kFile + ": id of " + Printable(token); });
    if (static_cast<size_t>(id) >= text.size()) {
      text.resize(id + 1);
      kind.resize(id + 1, TokenKind::kUndefined);
    }
    text[id] = token;
    kind[id] = token_kind;
  };
  for (const auto& [token, id] : Member(Member(tokenizer, "model"), "vocab").items())
    set(id, token, TokenKind::kNormal);
  if (!Member(tokenizer, "added_tokens").is_null()) {
    for (const Json& entry : ArrayField(tokenizer, "added_tokens", kFile)) {
      const std::string content = StringField(entry, "content", kFile).value_or("");
      for (const char* flag : {"single_word", "lstrip", "rstrip"})
        if (BoolField(entry, flag, false, kFile))
          Fail(ErrorCode::kBadInput, "{}: added_tokens: {} of '{}' is set, which GGUF has no key for", kFile,
               flag, Printable(content));
      set(Member(entry, "id"), content,
          BoolField(entry, "special", false, kFile) ? TokenKind::kControl : TokenKind::kUserDefined);
    }
  }
  Json types = Json::array();
  for (const TokenKind k : kind) types.push_back(static_cast<int>(k));
  (*metadata)[kPrefix + "tokens"] = text;
  (*metadata)[kPrefix + "token_type"] = std::move(types);
}

void AddMerges(const Json& model, Json* metadata) {
  Json merges = Json::array();
  for (const Json& merge : ArrayField(model, "merges", kFile + ": model")) {
    // Both forms have been checked by Tokenizer::FromHuggingFace.
    if (merge.is_string()) {
      merges.push_back(merge);
      continue;
    }
    const auto &left = merge[0].get_ref<const std::string&>(),
               &right = merge[1].get_ref<const std::string&>();
    if ((left + right).find(' ') != std::string::npos)
      Fail(ErrorCode::kBadInput, "{}: model.merges[{}] has a token with a space, which GGUF cannot say",
           kFile, merges.size());
    merges.push_back(left + " " + right);
  }
  (*metadata)[kPrefix + "merges"] = std::move(merges);
}

// What the tokenizer puts around every text, which GGUF can only say of BOS and EOS.
void AddBosAndEos(const Tokenizer& tokenizer, Json* metadata) {
  const std::vector<int32_t> around = tokenizer.Encode("", {});
  const bool bos = !around.empty() && around.front() == tokenizer.bos();
  const bool eos = around.size() > (bos ? 1u : 0u) && around.back() == tokenizer.eos();
  if (around.size() != size_t{bos} + size_t{eos})
    Fail(ErrorCode::kBadInput,
         "{}: post_processor: it puts other tokens than BOS and EOS around a text, which GGUF has no key for",
         kFile);
  (*metadata)[kPrefix + "add_bos_token"] = bos;
  (*metadata)[kPrefix + "add_eos_token"] = eos;
}

}  // namespace

void AddUnusedTokens(uint32_t vocab_size, Json* metadata) {
  constexpr double kLeastScore = -10000;
  Json &tokens = metadata->at(kPrefix + "tokens"), &types = metadata->at(kPrefix + "token_type");
  Json* scores = metadata->contains(kPrefix + "scores") ? &metadata->at(kPrefix + "scores") : nullptr;
  for (size_t id = 0; id < vocab_size; ++id) {
    if (id == tokens.size()) {
      tokens.push_back("");
      types.push_back(0);
      if (scores != nullptr) scores->push_back(kLeastScore);
    }
    if (!tokens[id].get_ref<const std::string&>().empty()) continue;
    tokens[id] = fmt::format("[PAD{}]", id);
    types[id] = static_cast<int>(TokenKind::kUnused);
  }
}

Json MetadataOfTokenizerJson(const Json& tokenizer_json, const Json& tokenizer_config,
                             const Json& generation_config, const Json& config, uint32_t vocab_size) {
  const Tokenizer tokenizer =
      Tokenizer::FromHuggingFace(tokenizer_json, tokenizer_config, generation_config, config);
  const Json& model = Member(tokenizer_json, "model");
  Json metadata = {{kPrefix + "model", "gpt2"}, {kPrefix + "pre", NameOfPreTokenizer(tokenizer_json, model)}};
  AddTokens(tokenizer_json, vocab_size, &metadata);
  AddMerges(model, &metadata);
  // Ends and templates by the files, ids as the tokenizer has understood them.
  AddConfigs(tokenizer_config, generation_config, &metadata);
  if (tokenizer.bos() >= 0) metadata[kPrefix + "bos_token_id"] = tokenizer.bos();
  if (tokenizer.eos() >= 0) metadata[kPrefix + "eos_token_id"] = tokenizer.eos();
  AddBosAndEos(tokenizer, &metadata);
  return metadata;
}

}  // namespace onecopy::text
