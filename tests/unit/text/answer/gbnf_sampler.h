// Texts that a grammar allows, chosen at random: GBNF as llama.cpp's grammars/README.md describes it, as far as this module
// writes it (literals, classes, groups, rules, | ? * + {m,n}).
#pragma once

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/text/pcg32.h"

namespace onecopy::text {

class GbnfSampler {
 public:
  GbnfSampler(const std::string& grammar, uint64_t seed) : random_(seed, 1) {
    for (size_t at = 0; at < grammar.size();) {
      const size_t end = grammar.find('\n', at);
      const std::string line = grammar.substr(at, end - at);
      const size_t sign = line.find(" ::= ");
      if (sign == std::string::npos) throw std::runtime_error("no rule: " + line);
      std::string_view text = std::string_view(line).substr(sign + 5);
      rules_[line.substr(0, sign)] = Alternatives(&text);
      if (!text.empty()) throw std::runtime_error("left over: " + std::string(text));
      at = end + 1;
    }
  }

  std::string Sample() { return Write(Node{Kind::kRule, "root"}, 0); }

 private:
  enum class Kind { kLiteral, kRule, kClass, kSequence, kAlternatives };
  struct Node {
    Kind kind = Kind::kSequence;
    std::string text = {};                 // of a literal; the name of a rule
    std::vector<std::string> ranges = {};  // of a class: from, to, from, to, …
    bool negated = false;
    std::vector<Node> parts = {};
    size_t least = 1, most = 1;
  };

  // Where it is deep, as little as is allowed: the first alternative does not recurse.
  std::string Write(const Node& node, int depth) {
    const size_t most = depth > 40 ? node.least : std::min(node.most, node.least + 3);
    std::string out;
    for (size_t n = node.least + random_.Next() % (most - node.least + 1); n > 0; --n) {
      switch (node.kind) {
        case Kind::kLiteral:
          out += node.text;
          break;
        case Kind::kRule:
          if (!rules_.count(node.text)) throw std::runtime_error("no rule " + node.text);
          out += Write(rules_[node.text], depth + 1);
          break;
        case Kind::kClass:
          out += OfClass(node);
          break;
        case Kind::kSequence:
          for (const Node& part : node.parts) out += Write(part, depth + 1);
          break;
        case Kind::kAlternatives:
          out += Write(node.parts[depth > 40 ? 0 : random_.Next() % node.parts.size()], depth + 1);
          break;
      }
    }
    return out;
  }

  std::string OfClass(const Node& node) {
    // Characters of interest.
    static const std::vector<std::string> kCharacters = {"<", "/", "p",  "a",  ">", "｜", "D", "_", "\n",
                                                         " ", "é", "\"", "\\", "i", "n",  "1", "0", "-",
                                                         "+", "e", "E",  "b",  "u", "f",  "7"};
    while (true) {
      const std::string& c = kCharacters[random_.Next() % kCharacters.size()];
      bool in = false;
      for (size_t i = 0; i < node.ranges.size(); i += 2)
        in |= node.ranges[i].size() == c.size() && node.ranges[i] <= c && c <= node.ranges[i + 1];
      if (in != node.negated) return c;
    }
  }

  Node Alternatives(std::string_view* text) {
    Node node{Kind::kAlternatives};
    do {
      node.parts.push_back(Sequence(text));
    } while (Take(text, '|'));
    return node;
  }

  Node Sequence(std::string_view* text) {
    Node node{Kind::kSequence};
    while (Space(text), !text->empty() && text->front() != '|' && text->front() != ')') {
      Node item = Item(text);
      const char times = text->empty() ? 0 : text->front();
      if (times == '?' || times == '*') item.least = 0;
      if (times == '*' || times == '+') item.most = SIZE_MAX;
      if (times == '?' || times == '*' || times == '+') text->remove_prefix(1);
      if (times == '{') {
        const std::string range(text->substr(1, text->find('}') - 1));
        item.least = std::stoul(range);
        item.most = std::stoul(range.substr(range.find(',') + 1));
        text->remove_prefix(range.size() + 2);
      }
      if (item.most == SIZE_MAX) item.most = item.least + 3;
      node.parts.push_back(std::move(item));
    }
    return node;
  }

  Node Item(std::string_view* text) {
    if (Take(text, '(')) {
      Node node = Alternatives(text);
      if (!Take(text, ')')) throw std::runtime_error("no )");
      return node;
    }
    Node node;
    if (text->front() == '"') {
      node.kind = Kind::kLiteral;
      text->remove_prefix(1);
      while (text->front() != '"') node.text += Character(text);
      text->remove_prefix(1);
    } else if (text->front() == '[') {
      node.kind = Kind::kClass;
      text->remove_prefix(1);
      node.negated = text->front() == '^';
      if (node.negated) text->remove_prefix(1);
      while (text->front() != ']') {
        node.ranges.push_back(Character(text));
        if (text->front() == '-' && (*text)[1] != ']') {
          text->remove_prefix(1);
          node.ranges.push_back(Character(text));
        } else {
          node.ranges.push_back(node.ranges.back());
        }
      }
      text->remove_prefix(1);
    } else {
      node.kind = Kind::kRule;
      while (!text->empty() &&
             (std::isalnum(static_cast<unsigned char>(text->front())) || text->front() == '-')) {
        node.text += text->front();
        text->remove_prefix(1);
      }
      if (node.text.empty()) throw std::runtime_error("what is " + std::string(*text));
    }
    return node;
  }

  static std::string Character(std::string_view* text) {
    size_t n = 1;
    if (text->front() == '\\') {
      const char c = (*text)[1];
      if (c == 'x') {
        std::string out(1, static_cast<char>(std::stoi(std::string(text->substr(2, 2)), nullptr, 16)));
        text->remove_prefix(4);
        return out;
      }
      text->remove_prefix(2);
      return std::string(1, c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t' : c);
    }
    while (n < text->size() && ((*text)[n] & 0xC0) == 0x80) ++n;
    std::string out(text->substr(0, n));
    text->remove_prefix(n);
    return out;
  }

  static void Space(std::string_view* text) {
    while (!text->empty() && text->front() == ' ') text->remove_prefix(1);
  }
  static bool Take(std::string_view* text, char c) {
    Space(text);
    if (text->empty() || text->front() != c) return false;
    text->remove_prefix(1);
    return true;
  }

  std::map<std::string, Node> rules_;
  Pcg32 random_;
};

}  // namespace onecopy::text
