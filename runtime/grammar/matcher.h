// Matcher: what one sequence may say next, so that its text is one of a grammar. One per sequence; copied to branch or
// to go back (a copy is some hundred bytes to kilobytes); not thread-safe, but matchers of one grammar and table may
// run in parallel.
//
// Characters may be spread over several tokens: matching is by bytes. The text of the sequence is that of its tokens'
// pieces, one after another.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "runtime/grammar/grammar.h"
#include "runtime/grammar/item_set.h"
#include "runtime/grammar/token_table.h"

namespace onecopy::grammar {

class Matcher {
 public:
  Matcher(std::shared_ptr<const Grammar> grammar, std::shared_ptr<const TokenTable> tokens);

  // A bit per token id, least significant first; those of the tokens that may come next. Tokens that end
  // generation are in it where the text may end. All zero after such a token; or where the vocabulary has no
  // token for any byte that could follow, or the text is as deep (Stepper::kMaxDepth) or as ambiguous
  // (kMaxItems) as is allowed: then the caller must end the sequence. Columns of logits beyond vocab_size have
  // no bit. Valid until the next call. Takes some tenths of a second at most, whatever the grammar.
  std::span<const uint64_t> Mask();

  // True and one token further, or false and as before when the grammar does not allow it.
  bool Accept(int32_t id);
  // The same for text that did not come as a token.
  bool AcceptText(std::string_view bytes);

  bool can_end() const;                                     // the text so far is one of the grammar's
  size_t num_contexts() const { return contexts_.size(); }  // what the memory of a matcher depends on
  bool finished() const { return finished_; }               // a token that ends generation was accepted

 private:
  std::shared_ptr<const TokenMask> Compute();

  std::shared_ptr<const Grammar> grammar_;
  std::shared_ptr<const TokenTable> tokens_;
  ContextStore contexts_;
  Items items_;
  size_t compact_at_;  // number of contexts at which those that are not needed are dropped
  uint32_t num_costly_masks_ = 0;
  bool finished_ = false;
  std::shared_ptr<const TokenMask> mask_;
};

}  // namespace onecopy::grammar
