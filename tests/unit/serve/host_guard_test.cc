#include "runtime/serve/host_guard.h"

#include <gtest/gtest.h>

namespace onecopy::serve {
namespace {

bool Takes(const HostGuard& guard, std::map<std::string, std::string> headers) {
  HttpRequest request;
  request.headers = std::move(headers);
  return !guard.Refusal(request);
}

TEST(HostGuard, OnLoopbackOnlyNamesThatAreNobodyElses) {
  const HostGuard guard({"box", "10.0.0.7", "fd00::1"}, true);
  for (const char* host : {"localhost", "LOCALHOST:8080", "localhost.", "onecopy.localhost:80", "127.0.0.1",
                           "127.1.2.3:8080", "[::1]:8080", "box:8080", "Box.", "10.0.0.7:1", "[fd00::1]"})
    EXPECT_TRUE(Takes(guard, {{"host", host}})) << host;
  for (const char* host : {"evil.example", "evil.example:8080", "localhost.evil.example",
                           "127.0.0.1.evil.example", "127.evil.0.1", "evillocalhost", "10.0.0.8", "[::2]",
                           "box.evil.example", "0.0.0.0", "[", ":8080", "127.0.0.1@evil.example"})
    EXPECT_FALSE(Takes(guard, {{"host", host}})) << host;
  EXPECT_TRUE(Takes(guard, {}));
}

TEST(HostGuard, ElsewhereAnyNameUnlessSomeAreGiven) {
  EXPECT_TRUE(Takes(HostGuard(), {{"host", "any.example"}}));
  EXPECT_TRUE(Takes(HostGuard({}, false), {{"host", "any.example"}}));
  EXPECT_TRUE(Takes(HostGuard({"*"}, true), {{"host", "any.example"}}));
  EXPECT_FALSE(Takes(HostGuard({}, true), {{"host", "any.example"}}));
  EXPECT_FALSE(Takes(HostGuard({"one.example"}, false), {{"host", "any.example"}}));
}

TEST(HostGuard, PagesOfOtherSitesAreRefused) {
  const HostGuard guard({"chat.example"}, true);
  for (const char* site : {"same-origin", "none"})
    EXPECT_TRUE(Takes(guard, {{"host", "localhost:8080"}, {"sec-fetch-site", site}})) << site;
  for (const char* site : {"cross-site", "same-site"})
    EXPECT_FALSE(Takes(guard, {{"host", "localhost:8080"}, {"sec-fetch-site", site}})) << site;
  // Browsers without Sec-Fetch-Site.
  for (const char* origin : {"http://localhost:8080", "http://LOCALHOST:8080", "https://chat.example"})
    EXPECT_TRUE(Takes(guard, {{"host", "localhost:8080"}, {"origin", origin}})) << origin;
  for (const char* origin : {"null", "http://evil.example", "http://localhost:3000", "file://", "http://"})
    EXPECT_FALSE(Takes(guard, {{"host", "localhost:8080"}, {"origin", origin}})) << origin;
}

}  // namespace
}  // namespace onecopy::serve
