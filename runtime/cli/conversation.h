// Conversation: the turns so far, as a model's chat template writes them, and what of that the model has already read.
// Belongs to one thread.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "runtime/text/chat_template.h"

namespace onecopy::cli {

class Conversation {
 public:
  // source: a template; empty: the model's own. The references outlive it.
  Conversation(jinja::Renderer& renderer, const text::Tokenizer& tokenizer, std::string source,
               nlohmann::ordered_json variables);

  // An empty text: no system message.
  void SetSystem(const std::string& text) { system_ = text; }
  // Forgets all turns.
  void Reset() { turns_.clear(); }
  void Add(nlohmann::ordered_json message) { turns_.push_back(std::move(message)); }
  // Takes back the last message.
  void RemoveLast() { turns_.erase(turns_.size() - 1); }
  const nlohmann::ordered_json& turns() const { return turns_; }
  nlohmann::ordered_json Messages() const;  // turns, after the system message if there is one

  // The tokens of all of it, up to where the model's answer begins. Forgets the oldest turns, each a user's message with
  // what follows, until there is room: at most `most` tokens. *forgotten: how many turns.
  // Errors: as text::RenderChat; kUsage where even the last turn is too long. Nothing is changed then.
  std::vector<int32_t> Prompt(size_t most, size_t* forgotten);

 private:
  std::vector<int32_t> Tokens(const nlohmann::ordered_json& turns) const;

  jinja::Renderer& renderer_;
  const text::Tokenizer& tokenizer_;
  const std::string source_;
  const nlohmann::ordered_json variables_;
  std::string system_;
  nlohmann::ordered_json turns_ = nlohmann::ordered_json::array();
};

// How many tokens two sequences begin with in common.
size_t CommonPrefix(std::span<const int32_t> a, std::span<const int32_t> b);

}  // namespace onecopy::cli
