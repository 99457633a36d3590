#include "runtime/exec/ffn.h"

#include <algorithm>
#include <array>

#include "runtime/base/check.h"

namespace onecopy::exec {

void Ffn::Run(const Roles& roles, uint32_t layer, const Routing& routing, Activations* x, double* out,
              size_t hidden) {
  std::vector<Expert> experts;
  size_t h_stride = 0;
  for (const ExpertGroup& group : routing.groups) {
    const Expert expert = {&group, &store_.Matrix(roles.gate, layer, group.expert),
                           &store_.Matrix(roles.up, layer, group.expert),
                           &store_.Matrix(roles.down, layer, group.expert)};
    if (expert.gate->rows == 0) continue;  // this rank has no column group of it
    experts.push_back(expert);
    h_stride = std::max<size_t>(h_stride, RoundUp(expert.gate->rows, kernels::kUnitCols));
  }
  if (!experts.empty()) {
    h_.ReserveAs<float>(routing.tokens.size() * h_stride);
    GateUp(experts, routing, x, h_stride);
  }
  Down(experts, routing, h_stride, x->n_rows(), out, hidden);
}

// h[entry][r] = silu(gate[r] . x) * (up[r] . x), one task a piece of rows of one expert.
void Ffn::GateUp(const std::vector<Expert>& experts, const Routing& routing, Activations* x,
                 size_t h_stride) {
  struct Task {
    const Expert* expert;
    uint32_t begin, end;
  };
  uint64_t rows = 0;
  size_t most_tokens = 0;
  for (const Expert& e : experts) {
    rows += e.gate->rows;
    most_tokens = std::max<size_t>(most_tokens, e.group->size());
  }
  const uint32_t step = RowsPerTask(rows, most_tokens, team_);
  std::vector<Task> tasks;
  for (const Expert& e : experts)
    for (uint32_t r = 0; r < e.gate->rows; r += step)
      tasks.push_back({&e, r, std::min(e.gate->rows, r + step)});

  // Rows of x by entry, in each of the two matrices' formats (which are the same object where the formats
  // are).
  const auto gather = [&](kernels::ActFormat format) {
    const void* const* by_token = x->Rows(format, table_, team_);
    std::vector<const void*> by_entry(routing.tokens.size());
    for (size_t i = 0; i < by_entry.size(); ++i) by_entry[i] = by_token[routing.tokens[i]];
    return by_entry;
  };
  std::array<std::vector<const void*>, static_cast<size_t>(kernels::ActFormat::kCount)> x_rows;
  for (const Expert& e : experts)
    for (const auto* w : {e.gate, e.up}) {
      const kernels::ActFormat format = KernelOf(table_, *w, e.group->size()).act;
      auto& rows_of = x_rows[static_cast<size_t>(format)];
      if (rows_of.empty()) rows_of = gather(format);
    }

  auto* h = h_.As<float>();
  const size_t scratch_size = most_tokens * step;
  auto* scratch = up_.ReserveAs<float>(team_.size() * scratch_size);
  std::vector<std::vector<float*>> y_of(team_.size(), std::vector<float*>(2 * most_tokens));
  team_.For(tasks.size(), [&](size_t i, int thread) {
    const Task& task = tasks[i];
    const Expert& e = *task.expert;
    const uint32_t n = e.group->size(), n_rows = task.end - task.begin;
    float** gate_y = y_of[thread].data();
    float** up_y = gate_y + n;
    for (uint32_t t = 0; t < n; ++t) {
      gate_y[t] = h + (e.group->begin + t) * h_stride + task.begin;
      up_y[t] = scratch + thread * scratch_size + t * n_rows;
    }
    const auto gate = RowSlice(*e.gate, task.begin, task.end), up = RowSlice(*e.up, task.begin, task.end);
    const auto multiply = [&](const kernels::PackedMatrix& w, float** y) {
      const kernels::MatmulKernel& kernel = KernelOf(table_, w, n);
      kernel.matmul(w, x_rows[static_cast<size_t>(kernel.act)].data() + e.group->begin, y, n, 0, n_rows);
    };
    multiply(gate, gate_y);
    multiply(up, up_y);
    for (uint32_t t = 0; t < n; ++t) table_.silu_mul(gate_y[t], up_y[t], n_rows, gate_y[t]);
  });
}

// out[token] += weight * (down . h[entry]), one task a piece of rows for all experts in order, so that each
// sum has one order.
void Ffn::Down(const std::vector<Expert>& experts, const Routing& routing, size_t h_stride, size_t n_tokens,
               double* out, size_t hidden) {
  auto* h = h_.As<float>();
  const size_t n_entries = routing.tokens.size();
  std::vector<const void*> h_rows(n_entries);  // in the format of the entry's expert
  const size_t act_bytes = std::max(kernels::ActRowBytes(kernels::ActFormat::kQ8, h_stride),
                                    kernels::ActRowBytes(kernels::ActFormat::kBF16, h_stride));
  uint8_t* acts = acts_.Reserve(n_entries * act_bytes);
  struct Entry {
    uint32_t index, cols;
    kernels::ActFormat format;
  };
  std::vector<Entry> to_convert;
  size_t most_tokens = 1;
  for (const Expert& e : experts) {
    const kernels::ActFormat format = KernelOf(table_, *e.down, e.group->size()).act;
    most_tokens = std::max<size_t>(most_tokens, e.group->size());
    for (uint32_t i = e.group->begin; i < e.group->end; ++i) {
      h_rows[i] = h + i * h_stride;
      if (format == kernels::ActFormat::kF32) continue;
      h_rows[i] = acts + i * act_bytes;
      to_convert.push_back({i, e.down->cols, format});
    }
  }
  constexpr size_t kEntriesPerTask = 4;
  team_.For(DivUp(to_convert.size(), kEntriesPerTask), [&](size_t task, int) {
    const size_t end = std::min(to_convert.size(), (task + 1) * kEntriesPerTask);
    for (size_t i = task * kEntriesPerTask; i < end; ++i) {
      const Entry& entry = to_convert[i];
      kernels::MakeActRow(table_, entry.format, h + entry.index * h_stride, entry.cols,
                          acts + entry.index * act_bytes);
    }
  });

  const uint32_t step = RowsPerTask(hidden, most_tokens, team_);
  const size_t scratch_size = most_tokens * step;
  auto* scratch = down_.ReserveAs<double>(team_.size() * scratch_size);
  std::vector<std::vector<double*>> y_of(team_.size(), std::vector<double*>(most_tokens));
  team_.For(DivUp(hidden, step), [&](size_t task, int thread) {
    const auto begin = static_cast<uint32_t>(task * step);
    const auto end = static_cast<uint32_t>(std::min<size_t>(hidden, begin + step));
    for (size_t t = 0; t < n_tokens; ++t) std::fill(out + t * hidden + begin, out + t * hidden + end, 0.0);
    double** y = y_of[thread].data();
    for (const Expert& e : experts) {
      const uint32_t n = e.group->size(), n_rows = end - begin;
      for (uint32_t t = 0; t < n; ++t) y[t] = scratch + thread * scratch_size + t * n_rows;
      const auto down = RowSlice(*e.down, begin, end);
      KernelOf(table_, down, n).matmul_sum(down, h_rows.data() + e.group->begin, y, n, 0, n_rows);
      for (uint32_t t = 0; t < n; ++t) {
        const uint32_t entry = e.group->begin + t;
        const double weight = routing.weights[entry];
        double* to = out + routing.tokens[entry] * hidden + begin;
        for (uint32_t r = 0; r < n_rows; ++r) to[r] += weight * y[t][r];
      }
    }
  });
}

}  // namespace onecopy::exec
