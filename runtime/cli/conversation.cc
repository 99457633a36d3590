#include "runtime/cli/conversation.h"

#include <algorithm>
#include <utility>

#include "runtime/base/error.h"

namespace onecopy::cli {
namespace {

nlohmann::ordered_json WithSystem(const std::string& system, const nlohmann::ordered_json& turns) {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();
  if (!system.empty()) messages.push_back({{"role", "system"}, {"content", system}});
  for (const auto& turn : turns) messages.push_back(turn);
  return messages;
}

// Without the first user's message and what follows it; empty where that is the last one too.
nlohmann::ordered_json WithoutOldest(const nlohmann::ordered_json& turns) {
  nlohmann::ordered_json rest = nlohmann::ordered_json::array();
  size_t users = 0;
  for (const auto& message : turns) {
    users += message.at("role") == "user";
    if (users > 1) rest.push_back(message);
  }
  return rest;
}

}  // namespace

Conversation::Conversation(jinja::Renderer& renderer, const text::Tokenizer& tokenizer, std::string source,
                           nlohmann::ordered_json variables)
    : renderer_(renderer),
      tokenizer_(tokenizer),
      source_(std::move(source)),
      variables_(std::move(variables)) {}

nlohmann::ordered_json Conversation::Messages() const {
  return WithSystem(system_, turns_);
}

std::vector<int32_t> Conversation::Tokens(const nlohmann::ordered_json& turns) const {
  text::ChatInput input;
  input.messages = WithSystem(system_, turns);
  input.variables = variables_;
  return text::EncodeChat(tokenizer_, text::RenderChat(renderer_, tokenizer_, input, source_));
}

std::vector<int32_t> Conversation::Prompt(size_t most, size_t* forgotten) {
  nlohmann::ordered_json turns = turns_;
  *forgotten = 0;
  while (true) {
    std::vector<int32_t> tokens = Tokens(turns);
    if (tokens.empty())
      Fail(ErrorCode::kBadInput, "the chat template makes an empty text of the conversation");
    if (tokens.size() <= most) {
      turns_ = std::move(turns);
      return tokens;
    }
    nlohmann::ordered_json rest = WithoutOldest(turns);
    if (rest.empty())
      Fail(ErrorCode::kUsage,
           "the message takes {} tokens, but there is room for {}; shorten it, or start with a larger "
           "--context",
           tokens.size(), most);
    turns = std::move(rest);
    ++*forgotten;
  }
}

size_t CommonPrefix(std::span<const int32_t> a, std::span<const int32_t> b) {
  const auto [end, ignored] = std::mismatch(a.begin(), a.end(), b.begin(), b.end());
  return static_cast<size_t>(end - a.begin());
}

}  // namespace onecopy::cli
