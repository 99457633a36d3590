#include "runtime/text/detokenizer.h"

#include "runtime/text/utf8.h"

namespace onecopy::text {

std::string Detokenizer::Push(int32_t id) {
  if (options_.skip_special && tokenizer_.is_special(id)) return {};
  std::string_view piece = tokenizer_.Piece(id);
  if (strip_space_ && !piece.empty()) {
    if (piece.starts_with(' ')) piece.remove_prefix(1);
    strip_space_ = false;
  }
  pending_ += piece;
  // Only an unfinished character waits; bytes that can no longer become one are shown at once.
  const size_t complete = pending_.size() - IncompleteTailBytes(pending_);
  std::string out = ReplaceInvalidUtf8(std::string_view(pending_).substr(0, complete));
  pending_.erase(0, complete);
  return out;
}

std::string Detokenizer::Flush() {
  std::string out = ReplaceInvalidUtf8(pending_);
  pending_.clear();
  strip_space_ = options_.at_text_start && tokenizer_.strips_leading_space();
  return out;
}

}  // namespace onecopy::text
