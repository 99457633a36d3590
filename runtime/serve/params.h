// Params: the fields of a request's JSON object, each of the type and range that it must have. Unknown fields are ignored, as
// clients send those of other servers; null is the same as absent. Errors: ApiError 400 naming the field.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/serve/api_error.h"
#include "runtime/text/sampler.h"

namespace onecopy::serve {

// The object of a request's body, which is not nested deeper than 64 levels and has no object of more than 2048 members.
Json ParseObject(std::string_view body);

class Params {
 public:
  explicit Params(const Json& object) : object_(object) {}

  bool Has(const char* name) const;
  const Json* Find(const char* name) const;  // null where absent
  bool Bool(const char* name, bool fallback) const;
  int64_t Int(const char* name, int64_t fallback, int64_t least, int64_t most) const;
  double Number(const char* name, double fallback, double least, double most) const;
  std::string String(const char* name, const std::string& fallback) const;
  // A string or an array of at most `most` of them, none empty, none longer than a thousand bytes.
  std::vector<std::string> Strings(const char* name, size_t most) const;

  // temperature, top_p, top_k, min_p, repetition_penalty, presence_penalty, frequency_penalty, seed, logit_bias; where the
  // request has none, as in `defaults`; the seed is drawn.
  text::SamplerOptions Sampling(const text::SamplerOptions& defaults, uint32_t vocab) const;

 private:
  const Json& object_;
};

}  // namespace onecopy::serve
