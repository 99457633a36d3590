#include "runtime/cli/collectives_file.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "runtime/base/error.h"

namespace onecopy::cli {
namespace {

constexpr int kVersion = 1;

int64_t Whole(const nlohmann::json& row, const char* key, int64_t low, int64_t high, const std::string& at) {
  const auto it = row.find(key);
  if (it == row.end() || !it->is_number_integer())
    Fail(ErrorCode::kBadInput, "{}: \"{}\" is missing or no whole number", at, key);
  const int64_t value =
      it->is_number_unsigned() && it->get<uint64_t>() > INT64_MAX ? INT64_MAX : it->get<int64_t>();
  if (value < low || value > high)
    Fail(ErrorCode::kBadInput, "{}: \"{}\" is {}; expected {} to {}", at, key, value, low, high);
  return value;
}

}  // namespace

std::string CollectivesJson(const comm::CollectivesTable& table, const std::string& host) {
  nlohmann::ordered_json json = {{"collectives_table", kVersion}, {"host", host}};
  json["rows"] = nlohmann::ordered_json::array();
  for (const auto& row : table.rows)
    json["rows"].push_back({{"ranks", row.ranks},
                            {"sockets", row.sockets},
                            {"up_to_bytes", row.up_to_bytes},
                            {"algorithm", comm::NameOf(row.algorithm)}});
  return json.dump(2) + "\n";
}

comm::CollectivesTable ParseCollectives(const std::string& text, const std::string& source) {
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.value("collectives_table", nlohmann::json()) != kVersion ||
      !json.contains("rows") || !json["rows"].is_array() || json["rows"].empty())
    Fail(ErrorCode::kBadInput,
         "{} is no table of collectives (JSON with \"collectives_table\": {} and rows); make one with "
         "bench-collectives --tune FILE",
         source, kVersion);
  comm::CollectivesTable table;
  for (const auto& row : json["rows"]) {
    const std::string at = fmt::format("{}: rows[{}]", source, table.rows.size());
    if (!row.is_object()) Fail(ErrorCode::kBadInput, "{} is no JSON object", at);
    comm::CollectivesTable::Row out;
    out.ranks = static_cast<int>(Whole(row, "ranks", 1, 1 << 20, at));
    out.sockets = static_cast<int>(Whole(row, "sockets", 1, comm::kMaxSockets, at));
    out.up_to_bytes = static_cast<size_t>(Whole(row, "up_to_bytes", 1, int64_t{1} << 40, at));
    const auto name = row.find("algorithm");
    const auto algorithm =
        name != row.end() && name->is_string() ? comm::AlgorithmOf(name->get<std::string>()) : std::nullopt;
    if (!algorithm)
      Fail(ErrorCode::kBadInput, "{}: \"algorithm\" must be \"one-phase\", \"two-phases\" or \"by-socket\"",
           at);
    out.algorithm = *algorithm;
    table.rows.push_back(out);
  }
  return table;
}

}  // namespace onecopy::cli
