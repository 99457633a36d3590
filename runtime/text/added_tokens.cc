#include "runtime/text/added_tokens.h"

#include <algorithm>

#include "runtime/text/utf8.h"

namespace onecopy::text {
namespace {

// The last character of a text that is valid UTF-8 and not empty.
char32_t LastCharacter(std::string_view text) {
  size_t begin = text.size() - 1;
  while (begin > 0 && (static_cast<uint8_t>(text[begin]) & 0xC0) == 0x80) --begin;
  return DecodeUtf8(text.substr(begin)).code;
}

bool TouchesWord(std::string_view before, std::string_view after) {
  return (!before.empty() && IsWordCharacter(LastCharacter(before))) ||
         (!after.empty() && IsWordCharacter(DecodeUtf8(after).code));
}

size_t WhiteSpaceAtEnd(std::string_view text) {
  size_t end = text.size();
  while (end > 0 && IsWhiteSpace(LastCharacter(text.substr(0, end)))) {
    do --end;
    while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80);
  }
  return text.size() - end;
}

size_t WhiteSpaceAtStart(std::string_view text) {
  size_t begin = 0;
  while (begin < text.size()) {
    const Utf8Char c = DecodeUtf8(text.substr(begin));
    if (!IsWhiteSpace(c.code)) break;
    begin += c.bytes;
  }
  return begin;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)), nodes_(1) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    int32_t node = 0;
    for (const char c : tokens_[i].content) {
      const auto byte = static_cast<uint8_t>(c);
      int32_t child = Child(node, byte);
      if (child < 0) {
        child = static_cast<int32_t>(nodes_.size());
        auto& edges = nodes_[node].edges;
        edges.insert(std::lower_bound(edges.begin(), edges.end(), std::pair(byte, int32_t{-1})),
                     {byte, child});
        nodes_.emplace_back();
      }
      node = child;
    }
    if (node != 0 && nodes_[node].token < 0) nodes_[node].token = static_cast<int32_t>(i);
  }
}

int32_t AddedTokenMatcher::Child(int32_t node, uint8_t byte) const {
  const auto& edges = nodes_[node].edges;
  const auto it = std::lower_bound(edges.begin(), edges.end(), std::pair(byte, int32_t{-1}));
  return it != edges.end() && it->first == byte ? it->second : -1;
}

const AddedToken* AddedTokenMatcher::LongestAt(std::string_view text) const {
  int32_t node = 0, found = -1;
  for (const char c : text) {
    node = Child(node, static_cast<uint8_t>(c));
    if (node < 0) break;
    if (nodes_[node].token >= 0) found = nodes_[node].token;
  }
  return found < 0 ? nullptr : &tokens_[found];
}

std::vector<Fragment> AddedTokenMatcher::Split(std::string_view text, bool parse_special) const {
  std::vector<Fragment> out;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const AddedToken* token = LongestAt(text.substr(at));
    if (token == nullptr) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + token->content.size();
    // Also past a token that does not count, as the reference does: no other may begin inside it.
    at = end;
    if (token->special && !parse_special) continue;
    if (token->single_word && TouchesWord(text.substr(0, begin), text.substr(end))) continue;
    if (token->strip_left) begin -= WhiteSpaceAtEnd(text.substr(done, begin - done));
    if (token->strip_right) at = end += WhiteSpaceAtStart(text.substr(end));
    if (begin > done) out.push_back({text.substr(done, begin - done), -1});
    out.push_back({text.substr(begin, end - begin), token->id});
    done = end;
  }
  if (done < text.size()) out.push_back({text.substr(done), -1});
  return out;
}

}  // namespace onecopy::text
