#include "runtime/text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdlib>

#include "runtime/base/error.h"

namespace onecopy::text {
namespace {

// Whether no normal form changes the text.
bool IsAscii(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return (c & 0x80) == 0; });
}

std::string NormalForm(NormalizerStep::Kind kind, std::string_view text) {
  using Kind = NormalizerStep::Kind;
  if (IsAscii(text)) return std::string(text);
  int options = UTF8PROC_STABLE;
  options |= kind == Kind::kNfc || kind == Kind::kNfkc ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE;
  if (kind == Kind::kNfkc || kind == Kind::kNfkd) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t bytes = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                              static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                                              static_cast<utf8proc_option_t>(options));
  if (bytes < 0) Fail(ErrorCode::kInternal, "utf8proc cannot normalise a text: {}", utf8proc_errmsg(bytes));
  std::string out(reinterpret_cast<const char*>(mapped), static_cast<size_t>(bytes));
  std::free(mapped);
  return out;
}

std::string Apply(const NormalizerStep& step, std::string_view text) {
  switch (step.kind) {
    case NormalizerStep::Kind::kPrepend:
      return text.empty() ? std::string() : step.to + std::string(text);
    case NormalizerStep::Kind::kReplace:
      return ReplaceAll(text, step.from, step.to);
    default:
      return NormalForm(step.kind, text);
  }
}

}  // namespace

std::string Normalize(const std::vector<NormalizerStep>& steps, std::string_view text) {
  std::string out(text);
  for (const NormalizerStep& step : steps) out = Apply(step, out);
  return out;
}

std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to) {
  if (from.empty()) return std::string(text);
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t hit = std::min(text.find(from, at), text.size());
    out += text.substr(at, hit - at);
    if (hit == text.size()) break;
    out += to;
    at = hit + from.size();
  }
  return out;
}

}  // namespace onecopy::text
