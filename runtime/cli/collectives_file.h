// The file that bench-collectives --tune writes and --collectives-table reads. JSON:
//   {"collectives_table": 1, "host": "…", "rows": [{"ranks": 4, "sockets": 1, "up_to_bytes": 16384,
//    "algorithm": "one-phase"}, …]}
#pragma once

#include <string>

#include "runtime/comm/collectives_table.h"

namespace onecopy::cli {

std::string CollectivesJson(const comm::CollectivesTable& table, const std::string& host);

// source: for messages. Errors: kBadInput naming the field.
comm::CollectivesTable ParseCollectives(const std::string& text, const std::string& source);

}  // namespace onecopy::cli
