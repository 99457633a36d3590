// The files of the page (web/), which are part of the program: cmake/embed.cmake makes them.
#pragma once

#include <span>
#include <string_view>

namespace onecopy::serve {

struct WebFile {
  std::string_view name, hash, bytes, gzip;  // hash: of bytes
};
std::span<const WebFile> WebFiles();

}  // namespace onecopy::serve
