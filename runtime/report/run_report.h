// RunReport: what a run measured of itself, as a table for people and as JSON for programs.
#pragma once

#include <string>

#include "proto/report.pb.h"

namespace onecopy::report {

// One line a rank and a sum: what each node holds, and how often the model is in memory.
std::string ReportTable(const proto::RunReport& report);

// Keys are a contract with programs; numbers are JSON numbers.
std::string ReportJson(const proto::RunReport& report);

}  // namespace onecopy::report
