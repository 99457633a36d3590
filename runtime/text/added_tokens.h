// Added tokens: texts such as <|im_start|> that are found before anything else is done to a text. Immutable
// after construction, thread-safe. Source: Hugging Face tokenizers, tokenizer/added_vocabulary.rs (leftmost,
// then longest).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace onecopy::text {

struct AddedToken {
  std::string content;
  int32_t id = -1;
  bool special = false;      // only found when the caller allows special tokens
  bool normalized = false;   // looked for in the normalised text, not in the text as given
  bool single_word = false;  // only where no word character is next to it
  bool strip_left = false;   // takes the white space before it along
  bool strip_right = false;
};

// A stretch of text between added tokens, or one of them.
struct Fragment {
  std::string_view text;
  int32_t id = -1;  // of the added token; -1: plain text, which is not empty
};

class AddedTokenMatcher {
 public:
  AddedTokenMatcher() : AddedTokenMatcher(std::vector<AddedToken>()) {}
  // Tokens with empty content are never found. Of two with equal content, the first counts.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  bool empty() const { return tokens_.empty(); }
  // The fragments of `text`, in order; together they are the text, less the white space that tokens took
  // along.
  std::vector<Fragment> Split(std::string_view text, bool parse_special) const;

 private:
  // A trie over bytes. Nodes are few and their edges fewer, so edges are short sorted lists.
  struct Node {
    std::vector<std::pair<uint8_t, int32_t>> edges;
    int32_t token = -1;  // index into tokens_ of the one that ends here
  };
  int32_t Child(int32_t node, uint8_t byte) const;
  const AddedToken* LongestAt(std::string_view text) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;
};

}  // namespace onecopy::text
