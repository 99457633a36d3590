#include "runtime/model/parameters.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "runtime/base/error.h"
#include "runtime/base/printable.h"
#include "runtime/model/json_file.h"

namespace onecopy {

using nlohmann::json;

Parameters::Parameters(const json& metadata, std::string file, std::string prefix)
    : metadata_(metadata), file_(std::move(file)), prefix_(std::move(prefix)) {}

const json* Parameters::Find(const std::string& key) const {
  read_.insert(key);
  return Value(key);
}

std::vector<std::string> Parameters::Unread() const {
  std::vector<std::string> keys;
  for (const auto& [name, value] : metadata_.items()) {
    if (!name.starts_with(prefix_) || value.is_null()) continue;
    if (const std::string key = name.substr(prefix_.size()); !read_.contains(key)) keys.push_back(key);
  }
  return keys;
}

const json* Parameters::Value(const std::string& key) const {
  const auto found = metadata_.find(prefix_ + key);
  return found == metadata_.end() || found->is_null() ? nullptr : &*found;
}

uint32_t Parameters::Count(const std::string& key, uint32_t low, uint32_t high) {
  const json* value = Find(key);
  if (value == nullptr) {
    Problem(key, "is missing");
    return low;
  }
  if (value->is_array() && !value->empty()) {
    const json& first = value->front();
    if (!std::all_of(value->begin(), value->end(), [&](const json& layer) { return layer == first; })) {
      Problem(key, "different values per layer are not supported yet");
      return low;
    }
    value = &first;
  }
  if (!value->is_number_integer() || *value < low || *value > high) {
    Problem(key, fmt::format("expected an integer from {} to {}, found {}", low, high, ShownJson(*value)));
    return low;
  }
  return value->get<uint32_t>();
}

uint32_t Parameters::CountOr(const std::string& key, uint32_t fallback, uint32_t low, uint32_t high) {
  return Has(key) ? Count(key, low, high) : fallback;
}

float Parameters::Positive(const std::string& key) {
  const json* value = Find(key);
  if (value == nullptr) {
    Problem(key, "is missing");
    return 1;
  }
  // As a float, since that is what it becomes: neither 1e-60 nor 1e60 is one.
  const double number = value->is_number() ? value->get<double>() : 0;
  if (!(number >= std::numeric_limits<float>::min() && number <= std::numeric_limits<float>::max())) {
    Problem(key, fmt::format("expected a finite number above 0, found {}", ShownJson(*value)));
    return 1;
  }
  return static_cast<float>(number);
}

float Parameters::PositiveOr(const std::string& key, float fallback) {
  return Has(key) ? Positive(key) : fallback;
}

double Parameters::NumberOr(const std::string& key, double fallback) {
  const json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_number()) Problem(key, fmt::format("expected a number, found {}", ShownJson(*value)));
  return value->is_number() ? value->get<double>() : fallback;
}

bool Parameters::FlagOr(const std::string& key, bool fallback) {
  const json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) Problem(key, fmt::format("expected true or false, found {}", ShownJson(*value)));
  return value->is_boolean() ? value->get<bool>() : fallback;
}

std::string Parameters::TextOr(const std::string& key, const std::string& fallback) {
  const json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) Problem(key, fmt::format("expected a string, found {}", ShownJson(*value)));
  return value->is_string() ? value->get<std::string>() : fallback;
}

void Parameters::Problem(const std::string& key, const std::string& reason) {
  problems_.push_back(fmt::format("{}{}: {}", prefix_, Printable(key), reason));
}

void Parameters::Check() const {
  if (!problems_.empty()) Fail(ErrorCode::kBadInput, "{}: {}", file_, fmt::join(problems_, "; "));
}

}  // namespace onecopy
