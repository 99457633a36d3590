// HostGuard: which pages of a browser may drive this server. A browser on the same machine reaches a loopback address for any
// page that it shows; what gives such pages away is what the browser says of them: Sec-Fetch-Site (W3C Fetch Metadata),
// Origin (RFC 6454), and Host, which names another site where that site's name has been made to point here (DNS rebinding).
// No CORS headers are ever sent, so pages of other origins cannot read an answer either. Immutable; thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/serve/http.h"

namespace onecopy::serve {

class HostGuard {
 public:
  HostGuard() = default;  // takes any Host
  // hosts: names and addresses without port that Host may have beside loopback ones; "*" is any. only_these: Host is looked
  // at even where `hosts` is empty.
  HostGuard(std::vector<std::string> hosts, bool only_these);

  // Why the request is refused, a sentence; nothing where it is taken. Requests without Host are: browsers send it.
  std::optional<std::string> Refusal(const HttpRequest& request) const;

 private:
  bool Allows(std::string_view host) const;

  std::vector<std::string> hosts_;
  bool any_ = true;
};

}  // namespace onecopy::serve
