#include "runtime/serve/params.h"

#include <array>
#include <cmath>
#include <random>

namespace onecopy::serve {
namespace {

constexpr size_t kMostDepth = 64;
constexpr size_t kMostMembers = 2048;  // twice what a logit_bias may have
constexpr size_t kMostBiases = 1024, kMostStopBytes = 1000;

// What would cost more than its bytes is found before anything is built of it: what takes a nested value apart again recurses,
// and an object that keeps the order of its members looks each up among all others. Empty: nothing is.
std::string TooCostly(std::string_view body) {
  std::array<size_t, kMostDepth + 1> members = {};  // of the object that is open at each depth
  size_t depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < body.size(); ++i) {
    const char c = body[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMostDepth) return fmt::format("is nested deeper than {} levels", kMostDepth);
      members[depth] = 0;
    } else if ((c == '}' || c == ']') && depth > 0) {
      --depth;
    } else if (c == ':' && ++members[depth] > kMostMembers) {
      return fmt::format("has an object of more than {} members", kMostMembers);
    }
  }
  return {};
}

[[noreturn]] void Wrong(const char* name, const std::string& expected, const Json& found) {
  std::string shown = found.dump(-1, ' ', false, Json::error_handler_t::replace);
  constexpr size_t kMostShown = 60;
  if (shown.size() > kMostShown) shown = std::string(found.type_name());
  throw ApiError(400, fmt::format("{}: expected {}, found {}", name, expected, shown), name);
}

}  // namespace

Json ParseObject(std::string_view body) {
  if (const std::string reason = TooCostly(body); !reason.empty())
    throw ApiError(400, "the request's JSON " + reason);
  Json json;
  try {
    json = Json::parse(body);
  } catch (const Json::exception& e) {
    const std::string what = e.what();  // "[json.exception.parse_error.101] parse error at line 1, …"
    const size_t text = what.find("] ");
    throw ApiError(
        400, "the request's body is not JSON: " + (text == std::string::npos ? what : what.substr(text + 2)));
  }
  if (!json.is_object()) throw ApiError(400, "the request's body is not a JSON object");
  return json;
}

const Json* Params::Find(const char* name) const {
  const auto found = object_.find(name);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}
bool Params::Has(const char* name) const {
  return Find(name) != nullptr;
}

bool Params::Bool(const char* name, bool fallback) const {
  const Json* value = Find(name);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) Wrong(name, "true or false", *value);
  return value->get<bool>();
}

int64_t Params::Int(const char* name, int64_t fallback, int64_t least, int64_t most) const {
  const Json* value = Find(name);
  if (value == nullptr) return fallback;
  const std::string expected = fmt::format("an integer from {} to {}", least, most);
  if (!value->is_number()) Wrong(name, expected, *value);
  const double number = value->get<double>();  // clients send 1.0 too
  if (!(number >= static_cast<double>(least) && number <= static_cast<double>(most)) ||
      number != std::floor(number))
    Wrong(name, expected, *value);
  return value->is_number_integer() ? value->get<int64_t>() : static_cast<int64_t>(number);
}

double Params::Number(const char* name, double fallback, double least, double most) const {
  const Json* value = Find(name);
  if (value == nullptr) return fallback;
  const double number = value->is_number() ? value->get<double>() : NAN;
  if (!(number >= least && number <= most))
    Wrong(name, fmt::format("a number from {} to {}", least, most), *value);
  return number;
}

std::string Params::String(const char* name, const std::string& fallback) const {
  const Json* value = Find(name);
  if (value == nullptr) return fallback;
  if (!value->is_string()) Wrong(name, "a string", *value);
  return value->get<std::string>();
}

std::vector<std::string> Params::Strings(const char* name, size_t most) const {
  const Json* value = Find(name);
  if (value == nullptr) return {};
  std::vector<std::string> strings;
  const auto add = [&](const Json& item) {
    if (!item.is_string() || item.get_ref<const std::string&>().empty())
      Wrong(name, "strings that are not empty", item);
    strings.push_back(item.get<std::string>());
    if (strings.back().size() > kMostStopBytes)
      throw ApiError(400, fmt::format("{}: a string has more than {} bytes", name, kMostStopBytes), name);
  };
  if (value->is_string()) {
    if (!value->get_ref<const std::string&>().empty()) add(*value);
  } else if (value->is_array()) {
    if (value->size() > most) throw ApiError(400, fmt::format("{}: more than {} strings", name, most), name);
    for (const Json& item : *value) add(item);
  } else {
    Wrong(name, "a string or an array of strings", *value);
  }
  return strings;
}

text::SamplerOptions Params::Sampling(const text::SamplerOptions& defaults, uint32_t vocab) const {
  constexpr double kLarge = 1000;
  text::SamplerOptions options = defaults;
  const auto number = [&](const char* name, float* value, double least, double most) {
    *value = static_cast<float>(Number(name, *value, least, most));
  };
  number("temperature", &options.temperature, 0, kLarge);
  if (const Json* top_p = Find("top_p");
      top_p != nullptr && top_p->is_number() && top_p->get<double>() == 0) {
    options.top_p = 1e-6f;  // some clients mean: the most likely token
  } else {
    number("top_p", &options.top_p, 1e-9, 1);
  }
  options.top_k = static_cast<int32_t>(Int("top_k", options.top_k, -1, INT32_MAX));
  if (options.top_k < 0) options.top_k = 0;  // -1: off, as elsewhere
  number("min_p", &options.min_p, 0, 1);
  number("repetition_penalty", &options.repetition_penalty, 1e-3, kLarge);
  number("presence_penalty", &options.presence_penalty, -kLarge, kLarge);
  number("frequency_penalty", &options.frequency_penalty, -kLarge, kLarge);
  if (Has("seed")) {
    options.seed = static_cast<uint64_t>(Int("seed", 0, INT64_MIN / 2, INT64_MAX / 2));
  } else {
    static thread_local std::random_device random;
    options.seed = uint64_t{random()} << 32 | random();
  }
  if (const Json* biases = Find("logit_bias")) {
    if (!biases->is_object()) Wrong("logit_bias", "an object of token ids and numbers", *biases);
    if (biases->size() > kMostBiases)
      throw ApiError(400, fmt::format("logit_bias: more than {} tokens", kMostBiases), "logit_bias");
    for (const auto& [key, value] : biases->items()) {
      size_t used = 0;
      unsigned long id = vocab;
      try {
        id = std::stoul(key, &used);
      } catch (const std::logic_error&) {
      }
      if (used != key.size() || used == 0 || id >= vocab)
        throw ApiError(400, fmt::format("logit_bias: {} is not a token id, 0 to {}", key, vocab - 1),
                       "logit_bias");
      const double bias = value.is_number() ? value.get<double>() : NAN;
      if (!(bias >= -kLarge && bias <= kLarge)) Wrong("logit_bias", "numbers from -100 to 100", value);
      // A hundred forbids, and makes certain.
      options.logit_bias[static_cast<int32_t>(id)] =
          bias <= -100 ? -std::numeric_limits<float>::infinity() : static_cast<float>(bias);
    }
  }
  return options;
}

}  // namespace onecopy::serve
