// JSON Schema to rules whose texts are JSON documents that validate against it. A pure function of the schema. Sources:
// JSON Schema 2020-12 (core, validation), with what drafts 4 to 2019-09 write differently; OpenAPI 3.0's nullable.
// README.md says which keywords, and what form the documents have.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "runtime/grammar/expression.h"

namespace onecopy::grammar {

inline constexpr uint32_t kMaxSchemaDepth = 64;        // of the JSON; and of allOf and $ref in what they name
inline constexpr uint32_t kMaxSchemaNodes = 50'000;    // values in the JSON
inline constexpr uint32_t kMaxSchemaWork = 1'000'000;  // values copied while schemas are merged and compiled
inline constexpr uint32_t kMaxCounted = 4096;          // length limits above are taken as this; see README.md

// Appends the rules and returns the one of whole documents. Errors: kUsage, naming keyword and place (a JSON pointer).
uint32_t RulesOfJsonSchema(const nlohmann::ordered_json& schema, Rules* rules);

}  // namespace onecopy::grammar
