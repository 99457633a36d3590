// Linear layers over a rank's shard: input rows in the format a kernel wants, and a matrix product spread
// over the thread team. Not thread-safe; called from the thread that owns the team.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "runtime/exec/pieces.h"
#include "runtime/exec/thread_team.h"

namespace onecopy::exec {

// A growing buffer with 64-byte alignment. Content is lost when it grows.
class AlignedBuffer {
 public:
  AlignedBuffer() = default;
  ~AlignedBuffer();
  AlignedBuffer(const AlignedBuffer&) = delete;
  AlignedBuffer& operator=(const AlignedBuffer&) = delete;
  // At least `bytes` bytes. Errors: kNoMemory.
  uint8_t* Reserve(size_t bytes);
  template <typename T>
  T* ReserveAs(size_t n) {
    return reinterpret_cast<T*>(Reserve(n * sizeof(T)));
  }
  // What was reserved last.
  template <typename T>
  T* As() const {
    return reinterpret_cast<T*>(data_);
  }

 private:
  uint8_t* data_ = nullptr;
  size_t bytes_ = 0;
};

// n rows of float input, and their copies in other formats, made when first asked for and shared by all
// matrices that read the same input.
class Activations {
 public:
  // x: [n_rows][cols], rows `stride` floats apart; must stay unchanged while this object is used.
  void Set(const float* x, size_t n_rows, size_t cols, size_t stride);

  // Pointers to the rows in `format`.
  const void* const* Rows(kernels::ActFormat format, const kernels::KernelTable& table,
                          const ThreadTeam& team);
  size_t n_rows() const { return n_rows_; }
  // Which kernels multiply the rows. It outlives their use.
  const RowSplit& split() const { return *split_; }
  void set_split(const RowSplit* split) { split_ = split; }

  // Pointers to the rows of inputs and outputs, for Linear and LinearSum, kept so that they allocate nothing.
  std::vector<const void*> x_rows;
  std::vector<float*> y_rows;
  std::vector<double*> y_sum_rows;

 private:
  const float* x_ = nullptr;
  size_t n_rows_ = 0, cols_ = 0, stride_ = 0;
  static inline const RowSplit kFew;
  const RowSplit* split_ = &kFew;
  static constexpr size_t kFormats = static_cast<size_t>(kernels::ActFormat::kCount);
  std::array<AlignedBuffer, kFormats> buffers_;
  std::array<std::vector<const void*>, kFormats> rows_;
};

// Rows [begin, end) of a matrix as a matrix; begin is a multiple of its row tile.
kernels::PackedMatrix RowSlice(const kernels::PackedMatrix& matrix, uint32_t begin, uint32_t end);

// Rows per task so that `rows` rows in all make about four tasks a thread; a multiple of every row tile, and
// small enough that a task's output for many tokens stays in the cache.
uint32_t RowsPerTask(uint64_t rows, size_t n_tokens, const ThreadTeam& team);

// Where a product goes: y[t][r] = sum_c w[r][c] x[t][c], rows `y_stride` floats apart. A matrix without rows does nothing.
struct Product {
  const kernels::PackedMatrix* w;
  float* y;
  size_t y_stride;
};
// Products of one input, up to kMostProducts, in one list of tasks: threads wait for each other once.
inline constexpr size_t kMostProducts = 6;
void Linear(const kernels::KernelTable& table, const ThreadTeam& team, std::span<const Product> products,
            Activations* x);
inline void Linear(const kernels::KernelTable& table, const ThreadTeam& team, const kernels::PackedMatrix& w,
                   Activations* x, float* y, size_t y_stride) {
  const Product product = {&w, y, y_stride};
  Linear(table, team, {&product, 1}, x);
}

// The same for a matrix that is cut by columns: this rank's terms of sums over ranks.
void LinearSum(const kernels::KernelTable& table, const ThreadTeam& team, const kernels::PackedMatrix& w,
               Activations* x, double* y, size_t y_stride);

// body(kernel, begin, end) for the rows [begin, end) of a product, in the order of their split, that the kernel takes.
template <typename Body>
void ForKernels(const kernels::KernelTable& table, const kernels::PackedMatrix& w, size_t n_many,
                size_t n_rows, const Body& body) {
  const kernels::WeightKernel& kernel = table.weights[static_cast<size_t>(w.type)];
  if (!kernel.has_many()) n_many = 0;
  if (n_many > 0) body(kernel.many, size_t{0}, n_many);
  if (n_many < n_rows) body(kernel, n_many, n_rows);
}

}  // namespace onecopy::exec
