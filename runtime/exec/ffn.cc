#include "runtime/exec/ffn.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace onecopy::exec {
namespace {

using proto::Weight;

// Elements [begin, end) of a vector, which is a row of a float type.
void DecodePart(const kernels::PackedMatrix& vector, uint32_t begin, uint32_t end, float* out) {
  const kernels::TypeInfo& info = kernels::Info(vector.type);
  info.decode(vector.data + kernels::RowBytes(info, begin), out, end - begin);
}

// Of a row of h in the format that down wants.
size_t ActBytes(size_t cols) {
  return std::max(kernels::ActRowBytes(kernels::ActFormat::kQ8, cols),
                  kernels::ActRowBytes(kernels::ActFormat::kBF16, cols));
}

}  // namespace

const kernels::PackedMatrix* Ffn::Bias(Weight::Role role, uint32_t layer, uint32_t expert) const {
  return expert != kSharedExpert && store_.Has(role, layer) ? &store_.Matrix(role, layer, expert) : nullptr;
}

void Ffn::FindExperts(const Roles& roles, uint32_t layer, const Routing& routing) {
  experts_.clear();
  size_t h_floats = 0, act_bytes = 0;
  for (const ExpertGroup& group : routing.groups) {
    const bool shared = group.expert == kSharedExpert;
    const Roles& of = shared ? kShared : roles;
    const uint32_t number = shared ? 0 : group.expert;
    const auto& gate = store_.Matrix(of.gate, layer, number);
    if (gate.rows == 0) continue;  // this rank has no column group of it
    const size_t h_stride = RoundUp(gate.rows, kernels::kUnitCols);
    experts_.push_back({&group, &gate, &store_.Matrix(of.up, layer, number),
                        &store_.Matrix(of.down, layer, number),
                        Bias(Weight::EXPERT_GATE_BIAS, layer, group.expert),
                        Bias(Weight::EXPERT_UP_BIAS, layer, group.expert), h_stride, h_floats, act_bytes});
    h_floats += group.size() * h_stride;
    act_bytes += group.size() * ActBytes(h_stride);
  }
  h_.ReserveAs<float>(h_floats);
  acts_.Reserve(act_bytes);
}

void Ffn::Run(const Roles& roles, uint32_t layer, const Routing& routing, Activations* x, double* out,
              size_t hidden) {
  FindExperts(roles, layer, routing);
  if (!experts_.empty()) GateUp(routing, x);
  Down(routing, layer, x->n_rows(), out, hidden);
}

void Ffn::Activate(float* gate, float* up, size_t n) const {
  if (spec_.activation() == proto::ModelSpec::CLAMPED_SWIGLU) {
    // gate * sigmoid(a * gate) * (up + 1) by way of silu(a * gate) = a * gate * sigmoid(a * gate).
    constexpr float kA = 1.702f;
    const float limit = spec_.swiglu_limit();
    for (size_t i = 0; i < n; ++i) {
      gate[i] = std::min(gate[i], limit) * kA;
      up[i] = (std::clamp(up[i], -limit, limit) + 1.0f) / kA;
    }
  }
  table_.silu_mul(gate, up, n, gate);
}

// h[entry][r] = weight * act(gate[r] . x, up[r] . x), one task a piece of rows of one expert. The weight is a factor of what
// down reads and not of what it gives, whose sum over the columns of one rank times a weight would be rounded otherwise than
// that of another cut.
void Ffn::GateUp(const Routing& routing, Activations* x) {
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
    for (const auto* w : {e.gate, e.up})
      ForKernels(table_, *w, e.group->n_many, e.group->size(),
                 [&](const kernels::MatmulKernel& kernel, size_t, size_t) {
                   if (x_rows_[static_cast<size_t>(kernel.act)].empty()) gather(kernel.act);
                 });

  auto* h = h_.As<float>();
  const size_t scratch_size = (most_tokens + 2) * step;  // up, and both biases
  auto* scratch = up_.ReserveAs<float>(team_.size() * scratch_size);
  y_rows_.resize(2 * most_tokens * team_.size());
  team_.For(tasks_.size(), [&](size_t i, int thread) {
    const GateUpTask& task = tasks_[i];
    const Expert& e = *task.expert;
    const uint32_t n = e.group->size(), n_rows = task.end - task.begin;
    float** gate_y = y_rows_.data() + 2 * most_tokens * thread;
    float** up_y = gate_y + n;
    for (uint32_t t = 0; t < n; ++t) {
      gate_y[t] = h + e.h_begin + t * e.h_stride + task.begin;
      up_y[t] = scratch + thread * scratch_size + size_t{t} * n_rows;
    }
    auto gate = RowSlice(*e.gate, task.begin, task.end);
    const auto up = RowSlice(*e.up, task.begin, task.end);
    gate.next = &up;
    const auto multiply = [&](const kernels::PackedMatrix& w, float** y) {
      ForKernels(table_, w, e.group->n_many, n,
                 [&](const kernels::MatmulKernel& kernel, size_t begin, size_t end) {
                   const auto& rows = x_rows_[static_cast<size_t>(kernel.act)];
                   kernel.matmul(w, rows.data() + e.group->begin + begin, y + begin, end - begin, 0, n_rows);
                 });
    };
    multiply(gate, gate_y);
    multiply(up, up_y);
    float* biases = scratch + thread * scratch_size + most_tokens * step;
    if (e.gate_bias != nullptr) DecodePart(*e.gate_bias, task.begin, task.end, biases);
    if (e.up_bias != nullptr) DecodePart(*e.up_bias, task.begin, task.end, biases + step);
    for (uint32_t t = 0; t < n; ++t) {
      // A factor of x is one of both products.
      if (!routing.input_weights.empty()) {
        const float weight = routing.input_weights[e.group->begin + t];
        for (uint32_t r = 0; r < n_rows; ++r) {
          gate_y[t][r] *= weight;
          up_y[t][r] *= weight;
        }
      }
      if (e.gate_bias != nullptr) table_.axpy(1.0f, biases, n_rows, gate_y[t]);
      if (e.up_bias != nullptr) table_.axpy(1.0f, biases + step, n_rows, up_y[t]);
      Activate(gate_y[t], up_y[t], n_rows);
      const float weight = routing.weights[e.group->begin + t];
      if (weight != 1.0f)
        for (uint32_t r = 0; r < n_rows; ++r) gate_y[t][r] *= weight;
    }
  });
}

// out[token] += down . h[entry], one task a piece of rows for all experts in order, so that each sum has one order.
void Ffn::Down(const Routing& routing, uint32_t layer, size_t n_tokens, double* out, size_t hidden) {
  auto* h = h_.As<float>();
  const size_t n_entries = routing.tokens.size();
  h_rows_.resize(n_entries);
  auto* acts = acts_.As<uint8_t>();
  to_convert_.clear();
  size_t most_tokens = 1;
  for (const Expert& e : experts_) {
    most_tokens = std::max<size_t>(most_tokens, e.group->size());
    const auto convert = [&](const kernels::MatmulKernel& kernel, size_t begin, size_t end) {
      for (size_t t = begin; t < end; ++t) {
        const float* h_row = h + e.h_begin + t * e.h_stride;
        const void*& row = h_rows_[e.group->begin + t];
        row = h_row;
        if (kernel.act == kernels::ActFormat::kF32) continue;
        uint8_t* act = acts + e.acts_begin + t * ActBytes(e.h_stride);
        row = act;
        to_convert_.push_back({h_row, act, e.down->cols, kernel.act});
      }
    };
    ForKernels(table_, *e.down, e.group->n_many, e.group->size(), convert);
  }
  constexpr size_t kEntriesPerTask = 4;
  team_.For(DivUp(to_convert_.size(), kEntriesPerTask), [&](size_t task, int) {
    const size_t end = std::min(to_convert_.size(), (task + 1) * kEntriesPerTask);
    for (size_t i = task * kEntriesPerTask; i < end; ++i) {
      const Entry& entry = to_convert_[i];
      kernels::MakeActRow(table_, entry.format, entry.h, entry.cols, entry.act);
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
    for (size_t i = 0; i < experts_.size(); ++i) {
      const Expert& e = experts_[i];
      const uint32_t n = e.group->size(), n_rows = end - begin;
      for (uint32_t t = 0; t < n; ++t) y[t] = scratch + thread * scratch_size + size_t{t} * n_rows;
      auto down = RowSlice(*e.down, begin, end);
      kernels::PackedMatrix next;
      if (i + 1 < experts_.size()) {
        next = RowSlice(*experts_[i + 1].down, begin, end);
        down.next = &next;
      }
      ForKernels(table_, down, e.group->n_many, n,
                 [&](const kernels::MatmulKernel& kernel, size_t first, size_t last) {
                   kernel.matmul_sum(down, h_rows_.data() + e.group->begin + first, y + first, last - first,
                                     0, n_rows);
                 });
      for (uint32_t t = 0; t < n; ++t)
        table_.accumulate(y[t], n_rows, out + routing.tokens[e.group->begin + t] * hidden + begin);
    }
    if (store_.Has(Weight::EXPERT_DOWN_BIAS, layer)) AddDownBiases(routing, layer, begin, end, out, hidden);
  });
}

// Each rank has some columns of the biases, whatever it has of the experts. A bias times its weight is one float term of the
// sum, as a unit of columns is.
void Ffn::AddDownBiases(const Routing& routing, uint32_t layer, uint32_t begin, uint32_t end, double* out,
                        size_t hidden) const {
  for (const ExpertGroup& group : routing.groups) {
    const kernels::PackedMatrix* bias = Bias(Weight::EXPERT_DOWN_BIAS, layer, group.expert);
    if (bias == nullptr) continue;
    const uint32_t first = std::max(begin, bias->first_col);
    const uint32_t last = std::min(end, bias->first_col + bias->cols);
    constexpr uint32_t kPart = 64;
    for (uint32_t from = first; from < last; from += kPart) {
      float part[kPart];
      const uint32_t n = std::min(last - from, kPart);
      DecodePart(*bias, from - bias->first_col, from - bias->first_col + n, part);
      for (uint32_t i = group.begin; i < group.end; ++i) {
        double* sums = out + routing.tokens[i] * hidden + from;
        for (uint32_t c = 0; c < n; ++c) sums[c] += routing.weights[i] * part[c];
      }
    }
  }
}

}  // namespace onecopy::exec
