// Tokenizers and tokens for tests of answers.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/answer/answer_parser.h"
#include "runtime/text/chat_template.h"
#include "runtime/text/pcg32.h"
#include "runtime/text/utf8.h"
#include "tests/unit/text/test_metadata.h"

namespace onecopy::text {

inline std::vector<std::string_view> MarksOf(const AnswerFormat& format) {
  return format.calls == CallSyntaxKind::kHarmony ? HarmonyReader::Marks() : TaggedReader::Marks(format);
}

// Bytes, and `marks` as tokens: type 3, control tokens, or 4, which are shown.
inline Tokenizer TokenizerWithMarks(const std::vector<std::string_view>& marks, int type) {
  nlohmann::json metadata = ByteLevelMetadata({}, {});
  std::vector<std::string_view> added;
  for (const std::string_view mark : marks) {
    if (std::find(added.begin(), added.end(), mark) != added.end()) continue;
    added.push_back(mark);
    metadata["tokenizer.ggml.tokens"].push_back(mark);
    metadata["tokenizer.ggml.token_type"].push_back(type);
  }
  return Tokenizer::FromGguf(metadata);
}

// A tokenizer of one token for each piece of `text`, cut at random bytes, and the tokens.
inline std::pair<Tokenizer, std::vector<int32_t>> CutAtRandom(const std::string& text, Pcg32& random) {
  nlohmann::json metadata = ByteLevelMetadata({}, {});
  nlohmann::json& tokens = metadata["tokenizer.ggml.tokens"];
  std::map<std::string, int32_t> known;
  for (size_t i = 0; i < tokens.size(); ++i) known[tokens[i].get<std::string>()] = static_cast<int32_t>(i);
  std::vector<int32_t> ids;
  for (size_t at = 0; at < text.size();) {
    const size_t size = 1 + random.Next() % 9;
    std::string piece;
    for (const char c : text.substr(at, size)) piece += ByteToAlphabet(static_cast<uint8_t>(c));
    at += size;
    const auto [it, added] = known.emplace(piece, static_cast<int32_t>(tokens.size()));
    if (added) {
      tokens.push_back(piece);
      metadata["tokenizer.ggml.token_type"].push_back(1);
    }
    ids.push_back(it->second);
  }
  return {Tokenizer::FromGguf(metadata), ids};
}

// The deltas joined: what follows one of its kind is appended to it.
inline std::vector<AnswerDelta> Joined(const std::vector<AnswerDelta>& deltas) {
  std::vector<AnswerDelta> joined;
  for (const AnswerDelta& delta : deltas) {
    const bool same = !joined.empty() && joined.back().kind == delta.kind &&
                      joined.back().call == delta.call && delta.kind != AnswerDelta::Kind::kCallBegin;
    if (same) {
      joined.back().text += delta.text;
    } else {
      joined.push_back(delta);
    }
  }
  return joined;
}

inline std::vector<AnswerDelta> PushAll(AnswerParser& parser, const std::vector<int32_t>& ids) {
  std::vector<AnswerDelta> deltas;
  const auto add = [&](std::vector<AnswerDelta> more) {
    for (AnswerDelta& delta : more) {
      EXPECT_EQ(ReplaceInvalidUtf8(delta.text), delta.text);
      EXPECT_FALSE(delta.text.empty());
      deltas.push_back(std::move(delta));
    }
  };
  for (const int32_t id : ids) add(parser.Push(id));
  add(parser.Flush());
  return deltas;
}

// For messages: [thought]said{name id arguments}.
inline std::string Shown(const std::vector<AnswerDelta>& deltas) {
  std::string out;
  for (const AnswerDelta& delta : Joined(deltas)) switch (delta.kind) {
      case AnswerDelta::Kind::kContent:
        out += delta.text;
        break;
      case AnswerDelta::Kind::kReasoning:
        out += "[" + delta.text + "]";
        break;
      case AnswerDelta::Kind::kCallBegin:
        out += "{" + delta.text + "}";
        break;
      case AnswerDelta::Kind::kCallArguments:
        out += "(" + delta.text + ")";
        break;
    }
  return out;
}

inline nlohmann::ordered_json MessageFromDeltas(const std::vector<AnswerDelta>& deltas) {
  std::string content, reasoning;
  nlohmann::ordered_json calls = nlohmann::ordered_json::array();
  for (const AnswerDelta& delta : deltas) switch (delta.kind) {
      case AnswerDelta::Kind::kContent:
        content += delta.text;
        break;
      case AnswerDelta::Kind::kReasoning:
        reasoning += delta.text;
        break;
      case AnswerDelta::Kind::kCallBegin:
        calls.push_back({{"id", delta.id},
                         {"type", "function"},
                         {"function", {{"name", delta.text}, {"arguments", ""}}}});
        break;
      case AnswerDelta::Kind::kCallArguments: {
        auto& arguments = calls.at(static_cast<size_t>(delta.call))["function"]["arguments"];
        arguments = arguments.get<std::string>() + delta.text;
        break;
      }
    }
  nlohmann::ordered_json message = {{"role", "assistant"}, {"content", content}};
  if (content.empty() && !calls.empty()) message["content"] = nullptr;
  if (!reasoning.empty()) message["reasoning_content"] = reasoning;
  if (!calls.empty()) message["tool_calls"] = calls;
  return message;
}

}  // namespace onecopy::text
