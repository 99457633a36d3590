#include "runtime/base/log.h"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>

#include <memory>

namespace onecopy::log {

void Init(int rank, int ranks, bool verbose) {
  auto logger =
      std::make_shared<spdlog::logger>("onecopy", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  const std::string who = ranks > 1 && rank > 0 ? fmt::format("onecopy: rank {}: ", rank) : "onecopy: ";
  logger->set_pattern(who + "%v");
  logger->set_level(rank > 0 ? spdlog::level::warn : verbose ? spdlog::level::debug : spdlog::level::info);
  spdlog::set_default_logger(logger);
}

}  // namespace onecopy::log
