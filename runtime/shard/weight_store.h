// WeightStore: this rank's shard, ready for kernels: packed matrices in one arena on the rank's node, and the
// replicated vectors as float. Filled by the loader, then immutable and safe to read from any thread.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "proto/model.pb.h"
#include "proto/plan.pb.h"
#include "runtime/numa/arena.h"

namespace onecopy::shard {

class WeightStore {
 public:
  // Lays out rank's shard: every matrix 64-byte aligned, a layer's weights side by side. Takes both
  // arenas from `memory`, untouched. spec and plan need not outlive the store. Errors: as numa::Arena.
  WeightStore(const proto::ModelSpec& spec, const proto::ShardPlan& plan, const kernels::KernelTable& table,
              int rank, numa::ArenaSource* memory);

  // A rank without a part of the matrix gets one with rows = 0.
  const kernels::PackedMatrix& Matrix(proto::Weight::Role role, uint32_t layer, uint32_t expert = 0) const;
  bool Has(proto::Weight::Role role, uint32_t layer) const;
  // Empty where the model has no such vector.
  std::span<const float> Vector(proto::Weight::Role role, uint32_t layer) const;

  // For the loader: where the shard of spec.weights[weight], expert, goes. Null for an empty shard.
  const kernels::PackedMatrix& Matrix(int weight, uint32_t expert) const {
    return matrices_[first_matrix_[weight] + expert];
  }
  uint8_t* MatrixData(int weight, uint32_t expert) const;
  float* VectorData(int weight) const;

  const numa::Arena& arena() const { return arena_; }
  const numa::Arena& vector_arena() const { return vector_arena_; }
  uint64_t matrix_bytes() const { return matrix_bytes_; }  // without alignment gaps

 private:
  static constexpr int kRoles = proto::Weight::Role_ARRAYSIZE;
  static constexpr uint32_t kNone = UINT32_MAX;

  numa::Arena arena_, vector_arena_;
  uint64_t matrix_bytes_ = 0;
  std::vector<kernels::PackedMatrix> matrices_;
  std::vector<uint32_t> first_matrix_;     // by weight index; matrices of its experts follow
  std::vector<std::span<float>> vectors_;  // by weight index; empty for matrices
  // [role][layer * experts + expert] -> index into matrices_, or [role][layer] -> weight index for vectors.
  std::array<std::vector<uint32_t>, kRoles> by_role_;
  std::array<uint32_t, kRoles> experts_{};  // 1 for roles without experts
};

}  // namespace onecopy::shard
