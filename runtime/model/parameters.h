// Parameters: hyper-parameters out of a checkpoint's metadata, each within its limits. Problems are
// collected, so that a user sees all of them at once. Not thread-safe.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

namespace onecopy {

class Parameters {
 public:
  // file: for messages. prefix: put before every key ("llama." in GGUF). Keeps a reference to metadata.
  Parameters(const nlohmann::json& metadata, std::string file, std::string prefix);

  // Present and not null.
  bool Has(const std::string& key) const { return Find(key) != nullptr; }

  // An integer of any width from `low` to `high`. GGUF's list with one value per layer is taken when all are
  // equal. When there is a problem the result is `low`, so that what is computed from it stays defined until
  // Check().
  uint32_t Count(const std::string& key, uint32_t low, uint32_t high);
  uint32_t CountOr(const std::string& key, uint32_t fallback, uint32_t low, uint32_t high);

  // A finite number above zero; 1 when there is a problem.
  float Positive(const std::string& key);
  float PositiveOr(const std::string& key, float fallback);

  // Absent or null: `fallback`.
  double NumberOr(const std::string& key, double fallback);
  bool FlagOr(const std::string& key, bool fallback);
  std::string TextOr(const std::string& key, const std::string& fallback);

  // Keys behind the prefix that none of the functions above was asked for and that are not null, sorted.
  std::vector<std::string> Unread() const;
  // Null where it is absent or null. Does not count as reading it.
  const nlohmann::json* Value(const std::string& key) const;

  // Adds "prefix + key: reason".
  void Problem(const std::string& key, const std::string& reason);
  // Throws kBadInput with all problems so far, if any.
  void Check() const;

 private:
  // Value(), and the key is read.
  const nlohmann::json* Find(const std::string& key) const;

  const nlohmann::json& metadata_;
  std::string file_;
  std::string prefix_;
  mutable std::set<std::string> read_;
  std::vector<std::string> problems_;
};

}  // namespace onecopy
