// Objects: the properties in the schema's order, each at most once, then additional ones.
#include <algorithm>

#include "runtime/base/printable.h"
#include "runtime/grammar/json_schema.h"
#include "runtime/grammar/schema_compiler.h"
#include "runtime/grammar/schema_values.h"
#include "runtime/text/utf8.h"

namespace onecopy::grammar {
namespace {

constexpr uint32_t kMaxObjectPlaces = 20'000;  // properties × the numbers of them that are told apart

struct Property {
  std::string name;
  const Json* schema;
  bool required;
};

std::vector<Property> PropertiesOf(const Json& flat, const Json* additional, const std::string& path) {
  std::vector<Property> properties;
  if (const auto at = flat.find("properties"); at != flat.end()) {
    if (!at->is_object()) FailAt(path, "properties", "expected an object");
    for (const auto& [name, schema] : at->items()) properties.push_back({name, &schema, false});
  }
  const auto required = flat.find("required");
  if (required == flat.end()) return properties;
  if (!required->is_array()) FailAt(path, "required", "expected a list of names");
  std::map<std::string, size_t> by_name;
  for (size_t i = 0; i < properties.size(); ++i) by_name[properties[i].name] = i;
  for (const Json& name : *required) {
    if (!name.is_string()) FailAt(path, "required", "expected a list of names");
    const auto [at, is_new] = by_name.try_emplace(name.get<std::string>(), properties.size());
    // One that is not described must be as an additional one.
    if (is_new) properties.push_back({name.get<std::string>(), additional, false});
    properties[at->second].required = true;
  }
  return properties;
}

// A trie of names, so that a key leaves it at the first character in which it differs from all.
class KeyGraph {
 public:
  explicit KeyGraph(const std::vector<std::string>& names) {
    const CodePoints plain = CodePoints(0x20, 0x10FFFF).Without(CodePoints::Of("\"\\"));
    const uint32_t other = graph_.AddPlace();
    graph_.Connect(other, other, Class(plain));
    graph_.Connect(other, 1);
    for (const std::string& name : names) Insert(name);
    for (uint32_t i = 0; i < nodes_.size(); ++i) {
      CodePoints rest = plain;
      for (const auto& [code, child] : nodes_[i].children) {
        rest = rest.Without(CodePoints(code, code));
        const CodePoints one = CodePoints(code, code).And(plain);
        if (!one.empty()) graph_.Connect(nodes_[i].place, nodes_[child].place, Class(one));
      }
      graph_.Connect(nodes_[i].place, other, Class(rest));
      if (!nodes_[i].is_name) graph_.Connect(nodes_[i].place, 1);
    }
  }
  Expr Finish() { return graph_.Finish(); }

 private:
  struct TrieNode {
    uint32_t place;
    bool is_name = false;
    std::map<uint32_t, uint32_t> children;
  };

  void Insert(const std::string& name) {
    uint32_t node = 0;
    for (std::string_view rest = name; !rest.empty();) {
      const text::Utf8Char c = text::DecodeUtf8(rest);
      rest.remove_prefix(c.bytes);
      const auto [at, is_new] =
          nodes_[node].children.try_emplace(c.code, static_cast<uint32_t>(nodes_.size()));
      node = at->second;
      if (is_new) nodes_.push_back({graph_.AddPlace()});
    }
    nodes_[node].is_name = true;
  }

  GraphBuilder graph_;
  std::vector<TrieNode> nodes_ = {{0}};
};

}  // namespace

Expr KeyOtherThan(const std::vector<std::string>& names) {
  return Sequence({Text("\""), KeyGraph(names).Finish(), Text("\"")});
}

Expr SchemaCompiler::Object(const Json& flat, const std::string& path) {
  static const Json kAnything = true;
  const bool open = IsOpen(flat);
  const auto additional_at = flat.find("additionalProperties");
  const Json* additional = additional_at == flat.end() ? &kAnything : &*additional_at;
  const std::vector<Property> properties = PropertiesOf(flat, additional, path);
  const uint32_t num = static_cast<uint32_t>(properties.size());
  const uint32_t min = CountOf(flat, "minProperties", 0, path);
  const uint32_t max = CountOf(flat, "maxProperties", kUnbounded, path);
  if (min > num + (open ? 1 : 0) && open)
    FailAt(path, "minProperties",
           "more than one additional property cannot be asked for, as a name could come twice; list them in "
           "properties");

  // A place for each property that may be next, and each number of properties so far, as far as that matters.
  const uint32_t num_required =
      static_cast<uint32_t>(std::ranges::count_if(properties, [](const Property& p) { return p.required; }));
  const bool max_matters = max < num || (open && max != kUnbounded);
  uint32_t counts = std::max(1u, min > num_required ? min : 0);
  if (max_matters) counts = std::max(counts, max);
  if (uint64_t{num + 1} * (counts + 1) > kMaxObjectPlaces)
    FailAt(path, max_matters ? "maxProperties" : "minProperties",
           "{} properties with this limit are too many", num);
  GraphBuilder graph;
  std::vector<uint32_t> places(size_t{num + 1} * (counts + 1));
  const auto place = [&](uint32_t property, uint32_t count) -> uint32_t& {
    return places[property * (counts + 1) + std::min(count, counts)];
  };
  for (uint32_t& at : places) at = graph.AddPlace();
  graph.Connect(0, place(0, 0));
  for (uint32_t i = 0; i < num; ++i) {
    const Property& property = properties[i];
    const Expr member =
        Sequence({Text(QuotedJson(property.name)), JsonColon(),
                  Compile(*property.schema, Below(Below(path, "properties"), property.name))});
    const Expr after_others = Sequence({values_.Comma(), member});
    for (uint32_t count = 0; count <= std::min(counts, i); ++count) {
      if (!property.required) graph.Connect(place(i, count), place(i + 1, count));
      if (max_matters && count >= max) continue;
      graph.Connect(place(i, count), place(i + 1, count + 1), count == 0 ? member : after_others);
    }
  }
  Expr extra;
  if (open) {
    std::vector<std::string> names;
    for (const Property& property : properties) names.push_back(property.name);
    uint32_t key = names.empty() ? values_.String() : AddRule(path);
    if (!names.empty()) rules_[key].body = KeyOtherThan(names);
    extra = Sequence({Call(key), JsonColon(), Compile(*additional, Below(path, "additionalProperties"))});
  }
  // An additional name may come twice, so that many of them count as one for min.
  for (uint32_t count = 0; count <= std::min(counts, num); ++count) {
    uint32_t at = place(num, count);
    // Where counts end below min, as many are required.
    const bool enough = count >= min || count == counts;
    if (enough) graph.Connect(at, 1);
    if (!open || (!enough && count + 1 < min)) continue;
    const Expr after_others = Sequence({values_.Comma(), extra});
    if (!max_matters) {
      const uint32_t more = graph.AddPlace();
      graph.Connect(at, more, count == 0 ? extra : after_others);
      graph.Connect(more, more, after_others);
      graph.Connect(more, 1);
      continue;
    }
    for (uint32_t total = count; total < max; ++total) {
      const uint32_t more = graph.AddPlace();
      graph.Connect(at, more, total == 0 ? extra : after_others);
      graph.Connect(more, 1);
      at = more;
    }
  }
  return values_.Bracketed('{', graph.Finish(), '}');
}

}  // namespace onecopy::grammar
