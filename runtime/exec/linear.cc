#include "runtime/exec/linear.h"

#include <algorithm>
#include <cstdlib>
#include <new>

#include "runtime/base/check.h"

namespace onecopy::exec {

AlignedBuffer::~AlignedBuffer() {
  std::free(data_);
}

uint8_t* AlignedBuffer::Reserve(size_t bytes) {
  if (bytes <= bytes_) return data_;
  std::free(data_);
  bytes_ = RoundUp(std::max(bytes, bytes_ + bytes_ / 2), 64);
  data_ = static_cast<uint8_t*>(std::aligned_alloc(64, bytes_));
  if (!data_) {
    const size_t wanted = std::exchange(bytes_, 0);
    Fail(ErrorCode::kNoMemory, "cannot allocate {} bytes of workspace; process fewer tokens a step", wanted);
  }
  return data_;
}

void Activations::Set(const float* x, size_t n_rows, size_t cols, size_t stride) {
  x_ = x;
  n_rows_ = n_rows;
  cols_ = cols;
  stride_ = stride;
  for (auto& rows : rows_) rows.clear();
}

const void* const* Activations::Rows(kernels::ActFormat format, const kernels::KernelTable& table,
                                     const ThreadTeam& team) {
  auto& rows = rows_[static_cast<size_t>(format)];
  if (!rows.empty() || n_rows_ == 0) return rows.data();
  rows.resize(n_rows_);
  if (format == kernels::ActFormat::kF32) {
    for (size_t t = 0; t < n_rows_; ++t) rows[t] = x_ + t * stride_;
    return rows.data();
  }
  const size_t row_bytes = kernels::ActRowBytes(format, cols_);
  uint8_t* out = buffers_[static_cast<size_t>(format)].Reserve(n_rows_ * row_bytes);
  for (size_t t = 0; t < n_rows_; ++t) rows[t] = out + t * row_bytes;
  constexpr size_t kRowsPerTask = 8;
  team.For(DivUp(n_rows_, kRowsPerTask), [&](size_t task, int) {
    const size_t end = std::min(n_rows_, (task + 1) * kRowsPerTask);
    for (size_t t = task * kRowsPerTask; t < end; ++t)
      kernels::MakeActRow(table, format, x_ + t * stride_, cols_, out + t * row_bytes);
  });
  return rows.data();
}

kernels::PackedMatrix RowSlice(const kernels::PackedMatrix& matrix, uint32_t begin, uint32_t end) {
  kernels::PackedMatrix slice = matrix;
  slice.data += begin / matrix.row_tile * kernels::TileBytes(matrix);
  slice.rows = end - begin;
  return slice;
}

uint32_t RowsPerTask(uint64_t rows, size_t n_tokens, const ThreadTeam& team) {
  constexpr uint64_t kTile = 32;  // a multiple of every row tile
  const uint64_t even = RoundUp(DivUp(rows, 4ull * team.size()), kTile);
  const uint64_t most = n_tokens > 8 ? 8 * kTile : 16 * kTile;
  return static_cast<uint32_t>(std::clamp(even, kTile, most));
}

namespace {

// The rows of x in the formats of the kernels that take them, in the order of the split, from x->x_rows[at] on.
void FindRows(const kernels::KernelTable& table, const ThreadTeam& team, const kernels::PackedMatrix& w,
              size_t at, Activations* x) {
  const RowSplit& split = x->split();
  ForKernels(table, w, split.n_many, x->n_rows(),
             [&](const kernels::MatmulKernel& kernel, size_t begin, size_t end) {
               const void* const* rows = x->Rows(kernel.act, table, team);
               for (size_t i = begin; i < end; ++i) x->x_rows[at + i] = rows[split.At(i)];
             });
}

}  // namespace

void Linear(const kernels::KernelTable& table, const ThreadTeam& team, std::span<const Product> products,
            Activations* x) {
  const size_t n = x->n_rows();
  ONECOPY_CHECK(products.size() <= kMostProducts);
  uint64_t rows = 0;
  for (const Product& p : products) rows += p.w->rows;
  if (rows == 0 || n == 0) return;
  const uint32_t step = RowsPerTask(rows, n, team);
  const RowSplit& split = x->split();
  size_t first_task[kMostProducts + 1] = {};
  x->x_rows.resize(products.size() * n);
  x->y_rows.resize(products.size() * n);
  for (size_t i = 0; i < products.size(); ++i) {
    const Product& p = products[i];
    first_task[i + 1] = first_task[i] + DivUp(p.w->rows, step);
    if (p.w->rows > 0) FindRows(table, team, *p.w, i * n, x);
    for (size_t t = 0; t < n; ++t) x->y_rows[i * n + t] = p.y + split.At(t) * p.y_stride;
  }
  team.For(first_task[products.size()], [&](size_t task, int) {
    size_t i = 0;
    while (first_task[i + 1] <= task) ++i;
    const kernels::PackedMatrix& w = *products[i].w;
    const auto row = static_cast<uint32_t>((task - first_task[i]) * step);
    ForKernels(table, w, split.n_many, n, [&](const kernels::MatmulKernel& kernel, size_t begin, size_t end) {
      kernel.matmul(w, x->x_rows.data() + i * n + begin, x->y_rows.data() + i * n + begin, end - begin, row,
                    std::min(w.rows, row + step));
    });
  });
}

void LinearSum(const kernels::KernelTable& table, const ThreadTeam& team, const kernels::PackedMatrix& w,
               Activations* x, double* y, size_t y_stride) {
  const size_t n = x->n_rows();
  if (w.rows == 0 || n == 0) return;
  const RowSplit& split = x->split();
  x->x_rows.resize(n);
  x->y_sum_rows.resize(n);
  FindRows(table, team, w, 0, x);
  for (size_t t = 0; t < n; ++t) x->y_sum_rows[t] = y + split.At(t) * y_stride;
  const uint32_t step = RowsPerTask(w.rows, n, team);
  team.For(DivUp(w.rows, step), [&](size_t task, int) {
    const auto row = static_cast<uint32_t>(task * step);
    ForKernels(table, w, split.n_many, n, [&](const kernels::MatmulKernel& kernel, size_t begin, size_t end) {
      kernel.matmul_sum(w, x->x_rows.data() + begin, x->y_sum_rows.data() + begin, end - begin, row,
                        std::min(w.rows, row + step));
    });
  });
}

}  // namespace onecopy::exec
