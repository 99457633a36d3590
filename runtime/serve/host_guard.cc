#include "runtime/serve/host_guard.h"

#include <fmt/format.h>

#include <algorithm>

namespace onecopy::serve {
namespace {

std::string Lower(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
  return lower;
}

// "Example.com.:8080" and "[::1]:8080" without port, brackets and final dot.
std::string HostOf(std::string_view authority) {
  std::string name = Lower(authority);
  if (name.starts_with('[')) {
    const size_t end = name.find(']');
    return end == std::string::npos ? name : name.substr(1, end - 1);
  }
  name.resize(std::min(name.size(), name.find(':')));
  if (name.ends_with('.')) name.pop_back();
  return name;
}

// No name of another site: no top-level domain is a number, and "localhost" is nobody's (RFC 6761).
bool IsLoopback(std::string_view name) {
  if (name == "localhost" || name.ends_with(".localhost") || name == "::1") return true;
  return name.starts_with("127.") && std::count(name.begin(), name.end(), '.') == 3 &&
         name.find_first_not_of("0123456789.") == std::string_view::npos;
}

}  // namespace

HostGuard::HostGuard(std::vector<std::string> hosts, bool only_these) : hosts_(std::move(hosts)) {
  any_ = (hosts_.empty() && !only_these) || std::find(hosts_.begin(), hosts_.end(), "*") != hosts_.end();
  for (std::string& host : hosts_) host = HostOf(host.find(':') == host.rfind(':') ? host : "[" + host + "]");
}

bool HostGuard::Allows(std::string_view host) const {
  const std::string name = HostOf(host);
  return IsLoopback(name) || std::find(hosts_.begin(), hosts_.end(), name) != hosts_.end();
}

std::optional<std::string> HostGuard::Refusal(const HttpRequest& request) const {
  const std::string& host = request.Header("host");
  if (!any_ && !host.empty() && !Allows(host))
    return fmt::format("this server is not called {}; start it with --allow-host {} if it is",
                       host.substr(0, 100), HostOf(host).substr(0, 100));
  const std::string& site = request.Header("sec-fetch-site");
  if (site == "cross-site" || site == "same-site") return "requests from pages of other sites are refused";
  const std::string& origin = request.Header("origin");
  if (!site.empty() || origin.empty()) return std::nullopt;
  // A browser that does not say how it got here.
  const size_t scheme = origin.find("://");
  const std::string_view from =
      scheme == std::string::npos ? std::string_view() : std::string_view(origin).substr(scheme + 3);
  const bool named = std::find(hosts_.begin(), hosts_.end(), HostOf(from)) != hosts_.end();
  if (!from.empty() && (named || Lower(from) == Lower(host))) return std::nullopt;
  return fmt::format("requests from pages of other sites are refused, and this one is from {}",
                     origin.substr(0, 100));
}

}  // namespace onecopy::serve
