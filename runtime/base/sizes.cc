#include "runtime/base/sizes.h"

#include <cmath>
#include <cstdlib>
#include <iterator>

#include "runtime/base/error.h"

namespace onecopy {

uint64_t ParseBytes(const std::string& text) {
  const auto fail = [&]() -> uint64_t {
    Fail(ErrorCode::kUsage, "'{}' is not a size; expected a number and a unit, such as 64G or 512MiB", text);
  };
  const char* begin = text.c_str();
  char* end = nullptr;
  const double value = std::strtod(begin, &end);
  if (end == begin || !std::isfinite(value) || value < 0) return fail();
  std::string unit = end;
  if (!unit.empty() && (unit.back() == 'B' || unit.back() == 'b')) unit.pop_back();
  double base = 1000;
  if (!unit.empty() && unit.back() == 'i') {
    base = 1024;
    unit.pop_back();
    if (unit.empty()) return fail();
  }
  static constexpr const char kUnits[] = "KMGT";
  int power = 0;
  if (unit.size() == 1) {
    const char letter = static_cast<char>(unit[0] & ~0x20);  // upper case
    for (power = 1; kUnits[power - 1] && kUnits[power - 1] != letter; ++power) {
    }
    if (power > 4) return fail();
  } else if (!unit.empty()) {
    return fail();
  }
  const double bytes = value * std::pow(base, power);
  if (bytes >= 1.8e19) return fail();
  return static_cast<uint64_t>(bytes);
}

std::string FormatBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  if (unit == 0) return fmt::format("{} B", bytes);
  return fmt::format("{:.{}f} {}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, kUnits[unit]);
}

}  // namespace onecopy
