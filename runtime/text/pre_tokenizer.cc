#include "runtime/text/pre_tokenizer.h"

#include "runtime/text/normalizer.h"
#include "runtime/text/utf8.h"

namespace onecopy::text {
namespace {

using Kind = PreTokenizerStep::Kind;

class Pieces {
 public:
  explicit Pieces(std::vector<std::string_view>* out) : out_(out) {}
  void Add(std::string_view piece) {
    if (!piece.empty()) out_->push_back(piece);
  }

 private:
  std::vector<std::string_view>* out_;
};

// Calls on_gap and on_match for what lies between matches and for the matches, in order; empty ones too.
template <typename OnGap, typename OnMatch>
void ForEachMatch(const Regex& regex, std::string_view piece, RegexScratch& scratch, const OnGap& on_gap,
                  const OnMatch& on_match) {
  size_t done = 0, search = 0;
  while (search <= piece.size()) {
    const std::optional<Regex::Match> match = regex.Find(piece, search, scratch);
    if (!match) break;
    on_gap(done, match->begin);
    on_match(match->begin, match->end);
    done = match->end;
    search = match->end;
    if (match->begin != match->end) continue;
    // After an empty match the search goes on behind the next character.
    if (search >= piece.size()) break;
    search += DecodeUtf8(piece.substr(search)).bytes;
  }
  on_gap(done, piece.size());
}

void SplitPiece(const PreTokenizerStep& step, std::string_view piece, RegexScratch& scratch, Pieces out) {
  const auto part = [piece](size_t begin, size_t end) { return piece.substr(begin, end - begin); };
  size_t pending = 0;  // where the piece that is still growing began, for the two merging kinds
  ForEachMatch(
      *step.regex, piece, scratch,
      [&](size_t begin, size_t end) {
        if (step.kind == Kind::kIsolate || step.kind == Kind::kRemove) out.Add(part(begin, end));
      },
      [&](size_t begin, size_t end) {
        if (step.kind == Kind::kIsolate || step.kind == Kind::kMatchesOnly) out.Add(part(begin, end));
        const bool merging = step.kind == Kind::kMergeWithNext || step.kind == Kind::kMergeWithPrevious;
        if (!merging) return;
        const size_t cut = step.kind == Kind::kMergeWithNext ? begin : end;
        out.Add(part(pending, cut));
        pending = cut;
      });
  if (step.kind == Kind::kMergeWithNext || step.kind == Kind::kMergeWithPrevious) {
    out.Add(part(pending, piece.size()));
  }
}

}  // namespace

Words SplitIntoWords(const std::vector<PreTokenizerStep>& steps, std::string_view text, bool at_start,
                     RegexScratch& scratch) {
  Words words;
  if (text.empty()) return words;
  words.pieces.push_back(text);
  for (const PreTokenizerStep& step : steps) {
    std::vector<std::string_view> before;
    before.swap(words.pieces);
    for (size_t i = 0; i < before.size(); ++i) {
      const std::string_view piece = before[i];
      switch (step.kind) {
        case Kind::kReplace:
          words.pieces.push_back(words.owned.emplace_back(ReplaceAll(piece, " ", step.text)));
          break;
        case Kind::kPrefix:
        case Kind::kPrefixFirst:
          if (piece.starts_with(step.text) || (step.kind == Kind::kPrefixFirst && !(at_start && i == 0))) {
            words.pieces.push_back(piece);
          } else {
            words.pieces.push_back(words.owned.emplace_back(step.text + std::string(piece)));
          }
          break;
        default:
          SplitPiece(step, piece, scratch, Pieces(&words.pieces));
      }
    }
  }
  return words;
}

}  // namespace onecopy::text
