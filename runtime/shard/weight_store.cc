#include "runtime/shard/weight_store.h"

#include <algorithm>
#include <numeric>

#include "runtime/base/check.h"
#include "runtime/shard/plan.h"

namespace onecopy::shard {
namespace {

constexpr uint64_t kAlign = 64;

}  // namespace

WeightStore::WeightStore(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                         const kernels::KernelTable& table, int rank, numa::ArenaSource* memory) {
  const int n_weights = spec.weights_size();
  first_matrix_.assign(n_weights, kNone);
  vectors_.resize(n_weights);
  for (int role = 0; role < kRoles; ++role) experts_[role] = 1;
  for (const proto::Weight& w : spec.weights())
    experts_[w.role()] = std::max(experts_[w.role()], w.first_expert() + std::max(1u, w.n_experts()));

  std::vector<int> order(n_weights);
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return spec.weights(a).layer() < spec.weights(b).layer(); });

  std::vector<uint64_t> offsets;
  uint64_t bytes = 0, vector_floats = 0;
  for (int w : order) {
    const proto::Weight& weight = spec.weights(w);
    auto& slots = by_role_[weight.role()];
    slots.resize(std::max<size_t>(slots.size(), (weight.layer() + 1ull) * experts_[weight.role()]), kNone);
    const size_t slot = uint64_t{weight.layer()} * experts_[weight.role()] + weight.first_expert();
    if (plan.placements(w).axis() == proto::WeightPlacement::REPLICATED) {
      slots[slot] = w;
      vector_floats += RoundUp(weight.rows() * weight.cols(), kAlign / sizeof(float));
      continue;
    }
    first_matrix_[w] = static_cast<uint32_t>(matrices_.size());
    for (uint32_t e = 0; e < std::max(1u, weight.n_experts()); ++e) {
      slots[slot + e] = static_cast<uint32_t>(matrices_.size());
      matrices_.push_back(ShardShape(spec, plan, table, w, e, rank));
      offsets.push_back(bytes);
      matrix_bytes_ += kernels::PackedBytes(matrices_.back());
      bytes += RoundUp(kernels::PackedBytes(matrices_.back()), kAlign);
    }
  }
  ONECOPY_CHECK(matrix_bytes_ == plan.totals(rank).weight_bytes());

  arena_ = memory->Make("weights", bytes);
  for (size_t m = 0; m < matrices_.size(); ++m)
    if (matrices_[m].rows > 0) matrices_[m].data = arena_.data() + offsets[m];
  vector_arena_ = memory->Make("replicated vectors", vector_floats * sizeof(float));
  auto* next = reinterpret_cast<float*>(vector_arena_.data());
  for (int w : order) {
    if (plan.placements(w).axis() != proto::WeightPlacement::REPLICATED) continue;
    const uint64_t n = spec.weights(w).rows() * spec.weights(w).cols();
    vectors_[w] = {next, n};
    next += RoundUp(n, kAlign / sizeof(float));
  }
}

const kernels::PackedMatrix& WeightStore::Matrix(proto::Weight::Role role, uint32_t layer,
                                                 uint32_t expert) const {
  return matrices_[by_role_[role][uint64_t{layer} * experts_[role] + expert]];
}

bool WeightStore::Has(proto::Weight::Role role, uint32_t layer) const {
  const auto& slots = by_role_[role];
  const uint64_t slot = uint64_t{layer} * experts_[role];
  return slot < slots.size() && slots[slot] != kNone;
}

std::span<const float> WeightStore::Vector(proto::Weight::Role role, uint32_t layer) const {
  return Has(role, layer) ? vectors_[by_role_[role][layer]] : std::span<const float>();
}

uint8_t* WeightStore::MatrixData(int weight, uint32_t expert) const {
  return const_cast<uint8_t*>(Matrix(weight, expert).data);
}

float* WeightStore::VectorData(int weight) const {
  return vectors_[weight].data();
}

}  // namespace onecopy::shard
