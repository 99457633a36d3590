// Arena: a rank's weight memory, one anonymous mapping bound to the rank's node. Also for KV cache and
// workspace. Not thread-safe to create or destroy; the memory is plain.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace onecopy::numa {

class Arena {
 public:
  Arena() = default;
  // Maps `bytes` (rounded up to 2 MiB) and binds it to `node` (-1: not bound), with transparent huge pages by
  // madvise. Nothing is touched: pages are placed, on the node, when first written.
  // Errors: kNoMemory where mmap fails, kCommunication where the bind fails; both name bytes and node.
  Arena(std::string purpose, uint64_t bytes, int node);
  ~Arena();
  Arena(Arena&& other) noexcept;
  Arena& operator=(Arena&& other) noexcept;

  uint8_t* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }
  int node() const { return node_; }

 private:
  std::string purpose_;
  uint8_t* data_ = nullptr;
  uint64_t bytes_ = 0;
  int node_ = -1;
};

}  // namespace onecopy::numa
