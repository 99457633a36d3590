// JSON files of a model directory: parsed strictly and within limits, since they come from strangers.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace onecopy {

inline constexpr uint64_t kMaxJsonDepth = 64;
// Gemma's tokenizer.json, the largest in use, has 33 MB and 2 million values.
inline constexpr uint64_t kMaxJsonBytes = 256ull << 20;
inline constexpr uint64_t kMaxJsonValues = 1ull << 23;

// The whole file; a regular file of at most max_bytes. Errors: kBadInput.
std::string ReadTextFile(const std::string& path, uint64_t max_bytes = kMaxJsonBytes);

// Refuses what nlohmann::json::parse would let through: repeated keys (which of them counts differs between
// readers), more than kMaxJsonDepth levels, more than kMaxJsonValues values. Errors: kBadInput with path and
// byte.
nlohmann::json ParseJson(const std::string& text, const std::string& path);

// An object from a file. Errors: as above, or when it is not an object.
nlohmann::json ReadJsonObject(const std::string& path);

// A value of a file, fit for a message: in a GGUF file texts may have any bytes. At most 80.
std::string ShownJson(const nlohmann::json& value);

// The sentence of a nlohmann exception, without its "[json.exception.parse_error.101]".
std::string JsonReason(const nlohmann::json::exception& error);

}  // namespace onecopy
