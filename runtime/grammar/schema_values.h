// What can be said about single values and flat schemas (SchemaReader::Flatten) without making a grammar. Internal to
// json_schema.
#pragma once

#include <string>
#include <vector>

#include "runtime/grammar/number_range.h"
#include "runtime/grammar/schema_reader.h"

namespace onecopy::grammar {

// The types of documents that are written for a schema: those it names; else those its keywords are about, though by
// the standard other types would be valid; else all.
std::vector<std::string> WrittenTypes(const Json& flat);
// Whether objects may have properties that the schema does not name, as they are written: where it says so, or names
// none.
bool IsOpen(const Json& flat);

std::optional<Bound> LowerBound(const Json& flat, const std::string& path);
std::optional<Bound> UpperBound(const Json& flat, const std::string& path);

// Of the values of its enum, those that the rest allows. Errors: kUsage where the rest has keywords that cannot be
// checked for such a value.
std::vector<Json> PermittedValues(const Json& flat, const std::string& path);

// True: no document written for `a` is valid for `b`. False: some may be.
// Errors: kUsage as Flatten.
bool NeverBoth(const Json& a, const Json& b, const std::string& path, SchemaReader* reader, uint32_t depth);

}  // namespace onecopy::grammar
