// Pieces: which of two kernels takes a row of activations (kernels.h, WeightKernel). The prompt tokens of one sequence in a step
// are a piece; how many of its own piece a matrix multiplies decides for a token, and not what else it multiplies
// at the same time. So prompts are read together, and no bit of one depends on the others. The same on every rank; belongs
// to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "proto/control.pb.h"
#include "runtime/exec/router.h"

namespace onecopy::exec {

// In which order kernels take the rows of a product: the first n_many are for the kernel for many tokens.
struct RowSplit {
  size_t n_many = 0;
  std::vector<uint32_t> order;  // empty: as they are

  size_t At(size_t i) const { return order.empty() ? i : order[i]; }
};

class Pieces {
 public:
  // many_from: of the kernel table.
  explicit Pieces(size_t many_from) : many_from_(many_from) {}

  void SetStep(const proto::Step& step);
  // Of rows that are all tokens of the step.
  const RowSplit& all() const { return all_; }
  // Of rows that are these tokens of the step; until the next call.
  const RowSplit& Of(std::span<const uint32_t> tokens);
  // Brings the entries of each group into such an order, and sets its n_many.
  void Order(Routing* routing);

 private:
  void Split(std::span<const uint32_t> tokens, RowSplit* split);

  const size_t many_from_;
  std::vector<uint32_t> slots_;   // of the step's prompt tokens; empty: none of them is one of many
  std::vector<uint32_t> counts_;  // by slot; zero between calls
  RowSplit all_, some_;
  std::vector<uint32_t> tokens_;
  std::vector<float> weights_;
};

}  // namespace onecopy::exec
