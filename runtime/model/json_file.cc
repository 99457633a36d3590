#include "runtime/model/json_file.h"

#include <cmath>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"
#include "runtime/model/header_file.h"

namespace onecopy {
namespace {

using nlohmann::json;

// Builds a value from nlohmann's SAX events; the parser itself needs no recursion, so depth is ours to bound.
class Builder final : public nlohmann::json_sax<json> {
 public:
  Builder(std::string path, json* root) : path_(std::move(path)), root_(root) {}

  bool null() override { return Add(nullptr); }
  bool boolean(bool value) override { return Add(value); }
  bool number_integer(int64_t value) override { return Add(value); }
  bool number_unsigned(uint64_t value) override { return Add(value); }
  bool number_float(double value, const std::string&) override { return Add(value); }
  bool string(std::string& value) override { return Add(std::move(value)); }
  bool binary(json::binary_t&) override { return false; }  // JSON text has none

  bool start_object(size_t) override { return Open(json::object()); }
  bool start_array(size_t) override { return Open(json::array()); }
  bool end_object() override { return Close(); }
  bool end_array() override { return Close(); }

  bool key(std::string& name) override {
    const auto [at, added] = open_.back()->get_ref<json::object_t&>().try_emplace(std::move(name));
    if (!added) Fail(ErrorCode::kBadInput, "{}: the key \"{}\" is there twice", path_, Printable(at->first));
    slot_ = &at->second;
    return true;
  }

  bool parse_error(size_t byte, const std::string&, const json::exception& error) override {
    Fail(ErrorCode::kBadInput, "{}: byte {}: not valid JSON: {}", path_, byte, JsonReason(error));
  }

 private:
  template <typename Value>
  bool Add(Value&& value) {
    Place(std::forward<Value>(value));
    return true;
  }

  template <typename Value>
  json* Place(Value&& value) {
    if (++n_values_ > kMaxJsonValues) {
      Fail(ErrorCode::kBadInput, "{}: more than {} JSON values, more than any known model has", path_,
           kMaxJsonValues);
    }
    if (open_.empty()) {
      *root_ = std::forward<Value>(value);
      return root_;
    }
    if (open_.back()->is_object()) {
      *slot_ = std::forward<Value>(value);
      return slot_;
    }
    auto& array = open_.back()->get_ref<json::array_t&>();
    return &array.emplace_back(std::forward<Value>(value));
  }

  bool Open(json container) {
    if (open_.size() == kMaxJsonDepth) {
      Fail(ErrorCode::kBadInput, "{}: JSON nested deeper than {} levels", path_, kMaxJsonDepth);
    }
    // The pointer stays valid: nothing is added to an outer container before this one is closed.
    open_.push_back(Place(std::move(container)));
    return true;
  }

  bool Close() {
    open_.pop_back();
    return true;
  }

  std::string path_;
  json* root_;
  std::vector<json*> open_;  // containers, outermost first
  json* slot_ = nullptr;     // value of the last key
  uint64_t n_values_ = 0;
};

}  // namespace

std::string JsonReason(const nlohmann::json::exception& error) {
  std::string_view reason = error.what();
  const size_t end = reason.find("] ");
  if (end != std::string_view::npos) reason.remove_prefix(end + 2);
  return Printable(reason, 200);
}

std::string ShownJson(const json& value) {
  if (value.is_number_float() && !std::isfinite(value.get<double>()))
    return fmt::format("{}", value.get<double>());
  return Printable(value.dump(-1, ' ', false, json::error_handler_t::replace));
}

std::string ReadTextFile(const std::string& path, uint64_t max_bytes) {
  HeaderFile file(path, max_bytes);
  if (file.size() > max_bytes) file.Reject("expected at most {} bytes, found {}", max_bytes, file.size());
  return file.ReadString(file.size());
}

json ParseJson(const std::string& text, const std::string& path) {
  json root;
  Builder builder(path, &root);
  json::sax_parse(text, &builder);  // either true or thrown
  return root;
}

json ReadJsonObject(const std::string& path) {
  json root = ParseJson(ReadTextFile(path), path);
  if (!root.is_object())
    Fail(ErrorCode::kBadInput, "{}: expected a JSON object, found {}", path, root.type_name());
  return root;
}

}  // namespace onecopy
