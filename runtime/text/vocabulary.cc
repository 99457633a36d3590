#include "runtime/text/vocabulary.h"

#include <algorithm>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"

namespace onecopy::text {

std::shared_ptr<const Vocabulary> Vocabulary::Build(std::vector<std::string> text,
                                                    std::vector<TokenKind> kind, std::string_view where) {
  std::shared_ptr<Vocabulary> out(new Vocabulary());
  out->text_ = std::move(text);
  out->kind_ = std::move(kind);
  out->ids_.reserve(out->text_.size());
  for (int32_t id = 0; id < out->size(); ++id) {
    const std::string& token = out->text_[id];
    if (token.empty()) continue;
    out->max_token_bytes_ = std::max(out->max_token_bytes_, token.size());
    const auto [it, inserted] = out->ids_.emplace(token, id);
    if (!inserted) {
      Fail(ErrorCode::kBadInput, "{}: the token '{}' has two ids, {} and {}", where, Printable(token),
           it->second, id);
    }
  }
  return out;
}

int32_t Vocabulary::Find(std::string_view token) const {
  const auto it = ids_.find(token);
  return it == ids_.end() ? -1 : it->second;
}

int32_t Vocabulary::FindByteToken(uint8_t byte) const {
  return Find(fmt::format("<0x{:02X}>", byte));
}

int ByteOfToken(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return -1;
  int value = 0;
  for (const char c : token.substr(3, 2)) {
    if (c >= '0' && c <= '9') {
      value = value * 16 + (c - '0');
    } else if (c >= 'A' && c <= 'F') {
      value = value * 16 + (c - 'A' + 10);
    } else {
      return -1;
    }
  }
  return value;
}

}  // namespace onecopy::text
