#include "runtime/grammar/schema_values.h"

#include <algorithm>
#include <cmath>

#include "runtime/base/printable.h"

namespace onecopy::grammar {
namespace {

struct KeywordType {
  const char *keyword, *type;
};
constexpr KeywordType kKeywordTypes[] = {
    {"properties", "object"},    {"required", "object"},         {"additionalProperties", "object"},
    {"minProperties", "object"}, {"maxProperties", "object"},    {"unevaluatedProperties", "object"},
    {"items", "array"},          {"prefixItems", "array"},       {"minItems", "array"},
    {"maxItems", "array"},       {"minLength", "string"},        {"maxLength", "string"},
    {"pattern", "string"},       {"format", "string"},           {"minimum", "number"},
    {"maximum", "number"},       {"exclusiveMinimum", "number"}, {"exclusiveMaximum", "number"},
    {"multipleOf", "number"}};

std::optional<Bound> TighterBound(const Json& flat, const char* loose, const char* tight, int sign,
                                  const std::string& path) {
  std::optional<Bound> bound;
  for (const char* keyword : {loose, tight}) {
    const auto at = flat.find(keyword);
    if (at == flat.end()) continue;
    if (!at->is_number()) FailAt(path, keyword, "expected a number, found {}", Printable(at->dump()));
    const Bound found{DecimalOf(*at), keyword == tight};
    const int order = bound ? sign * Compare(found.value, bound->value) : 1;
    if (order > 0 || (order == 0 && found.exclusive)) bound = found;
  }
  return bound;
}

bool WithinBounds(const Json& number, const Json& flat, const std::string& path) {
  const Decimal value = DecimalOf(number);
  if (const auto lo = LowerBound(flat, path)) {
    const int order = Compare(value, lo->value);
    if (order < 0 || (order == 0 && lo->exclusive)) return false;
  }
  if (const auto hi = UpperBound(flat, path)) {
    const int order = Compare(value, hi->value);
    if (order > 0 || (order == 0 && hi->exclusive)) return false;
  }
  return true;
}

size_t CharactersOf(const std::string& text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; });
}

bool Permits(const Json& value, const Json& flat, const std::string& path) {
  const std::vector<std::string> types = TypesOf(flat);
  if (std::ranges::none_of(types, [&](const std::string& type) { return IsType(value, type); })) return false;
  const auto refuse = [&](std::initializer_list<const char*> keywords) {
    for (const char* keyword : keywords)
      if (flat.contains(keyword)) FailAt(path, keyword, "it is not supported beside enum or const");
  };
  if (value.is_number()) {
    refuse({"multipleOf"});
    return WithinBounds(value, flat, path);
  }
  if (value.is_string()) {
    refuse({"pattern", "format"});
    const size_t length = CharactersOf(value.get_ref<const std::string&>());
    return length >= CountOf(flat, "minLength", 0, path) &&
           length <= CountOf(flat, "maxLength", UINT32_MAX, path);
  }
  if (value.is_array()) refuse({"items", "prefixItems", "minItems", "maxItems"});
  if (value.is_object())
    refuse({"properties", "required", "additionalProperties", "minProperties", "maxProperties",
            "unevaluatedProperties"});
  return true;
}

bool Lists(const Json& flat, const char* keyword, const Json& name) {
  const auto at = flat.find(keyword);
  if (at == flat.end()) return false;
  return at->is_object() ? at->contains(name.get<std::string>())
                         : std::find(at->begin(), at->end(), name) != at->end();
}

std::vector<Json> RequiredOf(const Json& flat) {
  const auto at = flat.find("required");
  return at != flat.end() && at->is_array() ? at->get<std::vector<Json>>() : std::vector<Json>{};
}

bool NeverBothObjects(const Json& a, const Json& b, const std::string& path, SchemaReader* reader,
                      uint32_t depth) {
  for (const Json& name : RequiredOf(b))
    if (name.is_string() && !Lists(a, "properties", name) && !Lists(a, "required", name) && !IsOpen(a))
      return true;
  for (const Json& name : RequiredOf(a)) {
    if (!name.is_string()) continue;
    if (!Lists(b, "properties", name)) {
      if (b.value("additionalProperties", Json(true)) == Json(false)) return true;
      continue;
    }
    if (!Lists(a, "properties", name)) continue;
    const std::string text = name.get<std::string>(), place = Below(path, text);
    const Json x = reader->Flatten(a["properties"][text], place, depth);
    const Json y = reader->Flatten(b["properties"][text], place, depth);
    if (NeverBoth(x, y, place, reader, depth + 1)) return true;
  }
  return false;
}

// Values of one type that `a` is written with and that `b` names, too.
bool NeverBothOfType(const std::string& type, const Json& a, const Json& b, const std::string& path,
                     SchemaReader* reader, uint32_t depth) {
  if (a.contains("enum")) {
    for (const Json& value : a["enum"]) {
      if (!IsType(value, type)) continue;
      if (b.contains("enum") && std::find(b["enum"].begin(), b["enum"].end(), value) == b["enum"].end())
        continue;
      try {
        if (!Permits(value, b, path)) continue;
      } catch (const Error&) {
        // It may be.
      }
      return false;
    }
    return true;
  }
  if (b.contains("enum"))
    return std::none_of(b["enum"].begin(), b["enum"].end(), [&](const Json& value) {
      if (!IsType(value, type)) return false;
      try {
        return Permits(value, a, path);
      } catch (const Error&) {
        return true;
      }
    });
  if (type == "object") return NeverBothObjects(a, b, path, reader, depth);
  const auto apart = [&](const char* least, const char* greatest) {
    return CountOf(a, greatest, UINT32_MAX, path) < CountOf(b, least, 0, path) ||
           CountOf(b, greatest, UINT32_MAX, path) < CountOf(a, least, 0, path);
  };
  if (type == "string") return apart("minLength", "maxLength");
  if (type == "array") return apart("minItems", "maxItems");
  if (type != "number" && type != "integer") return false;
  const auto below = [&](const Json& x, const Json& y) {
    const auto hi = UpperBound(x, path), lo = LowerBound(y, path);
    if (!hi || !lo) return false;
    const int order = Compare(hi->value, lo->value);
    return order < 0 || (order == 0 && (hi->exclusive || lo->exclusive));
  };
  return below(a, b) || below(b, a);
}

}  // namespace

std::vector<std::string> WrittenTypes(const Json& flat) {
  if (flat.contains("type")) return TypesOf(flat);
  std::vector<std::string> types;
  for (const auto& [keyword, type] : kKeywordTypes)
    if (flat.contains(keyword) && std::ranges::find(types, type) == types.end()) types.push_back(type);
  return types.empty() ? TypesOf(flat) : types;
}

bool IsOpen(const Json& flat) {
  const auto rest = flat.find("additionalProperties");
  if (rest != flat.end()) return *rest != Json(false);
  return !flat.contains("properties") && !flat.contains("unevaluatedProperties");
}

std::optional<Bound> LowerBound(const Json& flat, const std::string& path) {
  return TighterBound(flat, "minimum", "exclusiveMinimum", 1, path);
}

std::optional<Bound> UpperBound(const Json& flat, const std::string& path) {
  return TighterBound(flat, "maximum", "exclusiveMaximum", -1, path);
}

std::vector<Json> PermittedValues(const Json& flat, const std::string& path) {
  std::vector<Json> values;
  for (const Json& value : flat["enum"])
    if (Permits(value, flat, path)) values.push_back(value);
  return values;
}

bool NeverBoth(const Json& a, const Json& b, const std::string& path, SchemaReader* reader, uint32_t depth) {
  constexpr uint32_t kMaxDepth = 8;
  if (a == Json(false) || b == Json(false)) return true;
  if (!a.is_object() || !b.is_object() || depth > kMaxDepth) return false;
  for (const char* keyword : {"anyOf", "oneOf"}) {
    for (const bool of_a : {true, false}) {
      const Json& with = of_a ? a : b;
      if (!with.contains(keyword)) continue;
      Json base = with;
      base.erase(keyword);
      // Every alternative must be apart from the other schema.
      return std::all_of(with[keyword].begin(), with[keyword].end(), [&](const Json& part) {
        const Json way = reader->Merge(base, reader->Flatten(part, path, depth), path);
        return of_a ? NeverBoth(way, b, path, reader, depth + 1) : NeverBoth(a, way, path, reader, depth + 1);
      });
    }
  }
  const std::vector<std::string> written = a.contains("enum") ? TypesOf(a) : WrittenTypes(a),
                                 valid = TypesOf(b);
  return std::ranges::all_of(written, [&](const std::string& type) {
    const bool named = std::ranges::any_of(valid, [&](const std::string& other) {
      return other == type || (other == "number" && type == "integer") ||
             (other == "integer" && type == "number");
    });
    return !named || NeverBothOfType(type, a, b, path, reader, depth);
  });
}

}  // namespace onecopy::grammar
