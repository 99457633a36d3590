// Is what a rank holds after loading what the files say? Rows are read and decoded here by themselves, without the
// loader's lists and staging.
#pragma once

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "kernels/quantize.h"
#include "runtime/model/model_spec.h"
#include "runtime/shard/plan.h"
#include "runtime/shard/source.h"
#include "runtime/shard/weight_store.h"

namespace onecopy::test {

// What a weight's whole row becomes where the loader quantises it.
inline std::vector<float> AsLoaded(const proto::Weight& weight, std::vector<float> row) {
  if (!weight.has_file_type()) return row;
  const auto& info = kernels::Info(static_cast<kernels::WeightType>(weight.type()));
  std::vector<uint8_t> blocks(kernels::RowBytes(info, row.size()));
  kernels::FindQuantizer(info.type)(row.data(), blocks.data(), row.size());
  info.decode(blocks.data(), row.data(), row.size());
  return row;
}

// Gives every matrix of whole blocks another type, for the loader to make.
inline void QuantiseAll(kernels::WeightType type, proto::ModelSpec* spec) {
  for (proto::Weight& weight : *spec->mutable_weights()) {
    if (IsVectorRole(weight.role()) || weight.cols() % kernels::Info(type).block_cols != 0) continue;
    weight.set_file_type(weight.type());
    weight.set_type(static_cast<uint32_t>(type));
  }
}

inline std::vector<float> FileRow(const proto::ModelSpec& spec, int weight, uint32_t expert, uint64_t row) {
  const proto::Weight& w = spec.weights(weight);
  const kernels::TypeInfo& info = shard::FileInfo(w);
  const uint64_t row_bytes = kernels::RowBytes(info, w.cols());
  std::vector<uint8_t> bytes(row_bytes);
  std::ifstream file(spec.files(static_cast<int>(w.file())), std::ios::binary);
  file.seekg(static_cast<std::streamoff>(w.offset() + (expert * w.rows() + row) * row_bytes));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(row_bytes));
  std::vector<float> out(w.cols());
  info.decode(bytes.data(), out.data(), w.cols());
  return AsLoaded(w, std::move(out));
}

// Compares some rows of every weight of the rank's shard with the files; returns where they differ, or nothing.
inline std::string ShardDiffers(const proto::ModelSpec& spec, const proto::ShardPlan& plan,
                                const shard::WeightStore& store, int rank) {
  const auto same = [](const float* a, const float* b, size_t n) {
    return std::memcmp(a, b, n * sizeof(float)) == 0;
  };
  for (int w = 0; w < spec.weights_size(); ++w) {
    const proto::Weight& weight = spec.weights(w);
    const auto axis = plan.placements(w).axis();
    if (axis == proto::WeightPlacement::REPLICATED) {
      const std::vector<float> want = FileRow(spec, w, 0, 0);
      if (!same(store.VectorData(w), want.data(), want.size())) return weight.name();
      continue;
    }
    for (uint32_t e = 0; e < std::max(1u, weight.n_experts()); ++e) {
      const kernels::PackedMatrix& m = store.Matrix(w, e);
      if (m.rows == 0) continue;
      const shard::Range range = shard::OwnedRange(spec, plan, w, e, rank);
      std::vector<float> got(m.cols);
      for (uint32_t r = 0; r < m.rows; r = r + 1 < m.rows ? std::min(m.rows - 1, r + 37) : m.rows) {
        kernels::UnpackRow(m, r, got.data());
        const bool by_cols = axis == proto::WeightPlacement::COLS;
        const std::vector<float> row = FileRow(spec, w, e, by_cols ? r : range.begin + r);
        if (!same(got.data(), row.data() + (by_cols ? range.begin : 0), m.cols))
          return weight.name() + " expert " + std::to_string(e) + " row " + std::to_string(r) + " of rank " +
                 std::to_string(rank);
      }
    }
  }
  return "";
}

}  // namespace onecopy::test
