// Grammar: what a model's answer must look like, compiled; made once from GBNF or a JSON schema and shared by the
// matchers (matcher.h) of all sequences that keep to it. Immutable; safe to use from several threads.
//
// Grammars come from users, so that every size is limited: bytes of the source, depth of nesting, number of rules,
// repetitions, states and steps of the compiled form (constants in gbnf.h, json_schema.h and automaton.h). Making one
// takes at most about a second, and 100 MB.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string_view>

namespace onecopy::grammar {

class Automaton;

class Grammar {
 public:
  // GBNF as llama.cpp documents it (grammars/README.md there): rules "name ::= …" of which `root` is the whole text,
  // "literals", [classes], '.', ( groups ), |, * + ? {m} {m,} {m,n}, # comments.
  // Errors: kUsage, with line and column.
  static std::shared_ptr<const Grammar> FromGbnf(std::string_view text);

  // A JSON document that validates against the schema (README.md: drafts, keywords, canonical form).
  // Errors: kUsage, with the keyword and a JSON pointer to where it stands.
  static std::shared_ptr<const Grammar> FromJsonSchema(const nlohmann::ordered_json& schema);

  static std::shared_ptr<const Grammar> JsonObject();  // any JSON object; one for the whole program

  explicit Grammar(Automaton automaton);
  ~Grammar();
  Grammar(const Grammar&) = delete;
  Grammar& operator=(const Grammar&) = delete;

  const Automaton& automaton() const { return *automaton_; }
  size_t bytes() const;                // of its compiled form
  uint64_t id() const { return id_; }  // no two grammars of a process have the same

 private:
  std::unique_ptr<const Automaton> automaton_;
  uint64_t id_;
};

}  // namespace onecopy::grammar
