// Small files of /sys and /proc, read through a root that tests replace by a captured tree.
// Thread-safe. Formats: Linux Documentation/admin-guide/cputopology.rst ("list" format), proc(5) meminfo and
// status.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace onecopy::numa {

// The file's text without the newline at its end; empty where it cannot be read. Both `root` and `path` may
// or may not carry the slash between them.
std::optional<std::string> ReadText(const std::string& root, std::string_view path);

// The file's number; empty where the file is absent or holds something else ("max", "unlimited").
std::optional<uint64_t> ReadNumber(const std::string& root, std::string_view path);

// "0-3,8" -> {0, 1, 2, 3, 8}, ascending and without repeats; "" -> {}.
// Errors: kInternal, naming `source`, where the text is not such a list.
std::vector<int> ParseIdList(std::string_view text, std::string_view source);

// {0, 1, 2, 3, 8} -> "0-3,8", for messages.
std::string FormatIdList(const std::vector<int>& ids);

// Value of "key:  123 kB" in bytes, in /proc/meminfo or in a node's meminfo (whose lines begin with "Node 0
// ").
std::optional<uint64_t> MeminfoBytes(std::string_view meminfo, std::string_view key);

// Value of "key:<blanks>value" in /proc/self/status.
std::optional<std::string> StatusValue(std::string_view status, std::string_view key);

}  // namespace onecopy::numa
