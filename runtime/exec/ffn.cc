#include "runtime/exec/ffn.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace onecopy::exec {

void Ffn::Run(const Roles& roles, uint32_t layer, const Routing& routing, Activations* x, double* out,
              size_t hidden) {
  experts_.clear();
  size_t h_stride = 0;
  for (const ExpertGroup& group : routing.groups) {
    const Expert expert = {&group, &store_.Matrix(roles.gate, layer, group.expert),
                           &store_.Matrix(roles.up, layer, group.expert),
                           &store_.Matrix(roles.down, layer, group.expert)};
    if (expert.gate->rows == 0) continue;  // this rank has no column group of it
    experts_.push_back(expert);
    h_stride = std::max<size_t>(h_stride, RoundUp(expert.gate->rows, kernels::kUnitCols));
  }
  if (!experts_.empty()) {
    h_.ReserveAs<float>(routing.tokens.size() * h_stride);
    GateUp(routing, x, h_stride);
  }
  Down(routing, h_stride, x->n_rows(), out, hidden);
}

// h[entry][r] = silu(gate[r] . x) * (up[r] . x), one task a piece of rows of one expert.
void Ffn::GateUp(const Routing& routing, Activations* x, size_t h_stride) {
  uint64_t rows = 0;
  size_t most_tokens = 0;
  for (const Expert& e : experts_) {
    rows += e.gate->rows;
    most_tokens = std::max<size_t>(most_tokens, e.group->size());
  }
  const uint32_t step = RowsPerTask(rows, most_tokens, team_);
  tasks_.clear();
  for (const Expert& e : experts_)
    for (uint32_t r = 0; r < e.gate->rows; r += step)
      tasks_.push_back({&e, r, std::min(e.gate->rows, r + step)});

  // Rows of x by entry, in each of the two matrices' formats (which are the same object where the formats
  // are).
  const auto gather = [&](kernels::ActFormat format) {
    const void* const* by_token = x->Rows(format, table_, team_);
    auto& by_entry = x_rows_[static_cast<size_t>(format)];
    by_entry.resize(routing.tokens.size());
    for (size_t i = 0; i < by_entry.size(); ++i) by_entry[i] = by_token[routing.tokens[i]];
  };
  for (auto& rows_of : x_rows_) rows_of.clear();
  for (const Expert& e : experts_)
    for (const auto* w : {e.gate, e.up}) {
      const kernels::ActFormat format = KernelOf(table_, *w).act;
      if (x_rows_[static_cast<size_t>(format)].empty()) gather(format);
    }
  const auto x_of = [&](const kernels::PackedMatrix& w, uint32_t entry) {
    return x_rows_[static_cast<size_t>(KernelOf(table_, w).act)].data() + entry;
  };

  auto* h = h_.As<float>();
  const size_t scratch_size = most_tokens * step;
  auto* scratch = up_.ReserveAs<float>(team_.size() * scratch_size);
  y_rows_.resize(team_.size() * 2 * most_tokens);
  team_.For(tasks_.size(), [&](size_t i, int thread) {
    const GateUpTask& task = tasks_[i];
    const Expert& e = *task.expert;
    const uint32_t n = e.group->size(), n_rows = task.end - task.begin;
    float** gate_y = y_rows_.data() + thread * 2 * most_tokens;
    float** up_y = gate_y + n;
    for (uint32_t t = 0; t < n; ++t) {
      gate_y[t] = h + (e.group->begin + t) * h_stride + task.begin;
      up_y[t] = scratch + thread * scratch_size + t * n_rows;
    }
    const auto gate = RowSlice(*e.gate, task.begin, task.end), up = RowSlice(*e.up, task.begin, task.end);
    KernelOf(table_, gate).matmul(gate, x_of(gate, e.group->begin), gate_y, n, 0, n_rows);
    KernelOf(table_, up).matmul(up, x_of(up, e.group->begin), up_y, n, 0, n_rows);
    for (uint32_t t = 0; t < n; ++t) table_.silu_mul(gate_y[t], up_y[t], n_rows, gate_y[t]);
  });
}

// out[token] += weight * (down . h[entry]), one task a piece of rows for all experts in order, so that each
// sum has one order.
void Ffn::Down(const Routing& routing, size_t h_stride, size_t n_tokens, double* out, size_t hidden) {
  auto* h = h_.As<float>();
  const size_t n_entries = routing.tokens.size();
  h_rows_.resize(n_entries);
  q8_rows_.resize(n_entries);
  const size_t q8_bytes = kernels::ActRowBytes(kernels::ActFormat::kQ8, h_stride);
  uint8_t* q8 = q8_.Reserve(n_entries * q8_bytes);
  to_quantise_.clear();
  size_t most_tokens = 1;
  for (const Expert& e : experts_) {
    most_tokens = std::max<size_t>(most_tokens, e.group->size());
    for (uint32_t i = e.group->begin; i < e.group->end; ++i) {
      h_rows_[i] = h + i * h_stride;
      q8_rows_[i] = q8 + i * q8_bytes;
      if (KernelOf(table_, *e.down).act == kernels::ActFormat::kQ8) to_quantise_.push_back({i, e.down->cols});
    }
  }
  constexpr size_t kEntriesPerTask = 4;
  team_.For(DivUp(to_quantise_.size(), kEntriesPerTask), [&](size_t task, int) {
    const size_t end = std::min(to_quantise_.size(), (task + 1) * kEntriesPerTask);
    for (size_t i = task * kEntriesPerTask; i < end; ++i) {
      const Entry& entry = to_quantise_[i];
      table_.quantize_q8(h + entry.index * h_stride, entry.cols, q8 + entry.index * q8_bytes);
    }
  });

  const uint32_t step = RowsPerTask(hidden, most_tokens, team_);
  const size_t scratch_size = most_tokens * step;
  auto* scratch = down_.ReserveAs<double>(team_.size() * scratch_size);
  y_sum_rows_.resize(team_.size() * most_tokens);
  team_.For(DivUp(hidden, step), [&](size_t task, int thread) {
    const auto begin = static_cast<uint32_t>(task * step);
    const auto end = static_cast<uint32_t>(std::min<size_t>(hidden, begin + step));
    for (size_t t = 0; t < n_tokens; ++t) std::fill(out + t * hidden + begin, out + t * hidden + end, 0.0);
    double** y = y_sum_rows_.data() + thread * most_tokens;
    for (const Expert& e : experts_) {
      const uint32_t n = e.group->size(), n_rows = end - begin;
      for (uint32_t t = 0; t < n; ++t) y[t] = scratch + thread * scratch_size + t * n_rows;
      const auto& rows = KernelOf(table_, *e.down).act == kernels::ActFormat::kQ8 ? q8_rows_ : h_rows_;
      const auto down = RowSlice(*e.down, begin, end);
      KernelOf(table_, down).matmul_sum(down, rows.data() + e.group->begin, y, n, 0, n_rows);
      for (uint32_t t = 0; t < n; ++t) {
        const uint32_t entry = e.group->begin + t;
        table_.add_scaled_sums(routing.weights[entry], y[t], n_rows,
                               out + routing.tokens[entry] * hidden + begin);
      }
    }
  });
}

}  // namespace onecopy::exec
