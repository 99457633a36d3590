// Sums in float over a shard's columns (kernels.h, quick_sum): what `matmul` gives, as doubles. Of every kernel that has
// one, in one test, as many have none.
#include <gtest/gtest.h>

#include "tests/unit/kernels/matmul_bounds.h"
#include "tests/unit/kernels/test_tables.h"

namespace onecopy::kernels {
namespace {

// fn's results for all tokens and rows; NaN where it wrote nothing.
template <class Y, class Fn>
std::vector<std::vector<Y>> Products(Fn fn, const Shard& w, const Activations& x, size_t n, uint32_t rows) {
  std::vector<std::vector<Y>> y(n, std::vector<Y>(rows, std::nan("")));
  std::vector<Y*> out;
  for (auto& values : y) out.push_back(values.data());
  fn(w.matrix, x.pointers(), out.data(), n, 0, rows);
  return y;
}

void ExpectFloatProducts(const KernelTable& table, const MatmulKernel& kernel, const Shard& w, size_t n) {
  const uint32_t rows = w.matrix.rows;
  std::vector<std::vector<float>> tokens;
  for (size_t t = 0; t < n; ++t) tokens.push_back(RandomVector(w.matrix.cols, static_cast<uint32_t>(t)));
  const Activations x(table, kernel.act, tokens);
  const auto products = Products<float>(kernel.matmul, w, x, n, rows);
  const auto sums = Products<double>(kernel.quick_sum, w, x, n, rows);
  for (size_t t = 0; t < n; ++t)
    for (uint32_t r = 0; r < rows; ++r)
      ASSERT_EQ(sums[t][r], double{products[t][r]})
          << TypeName(w.matrix.type) << ", " << n << " tokens: token " << t << ", row " << r;
}

TEST(QuickSums, AreTheFloatProducts) {
  const uint32_t rows = 43, cols = 320;
  for (const TableEntry& entry : AllTables()) {
    if (!entry.supported()) continue;
    const KernelTable& table = entry.table();
    for (size_t i = 0; i < std::size(table.weights); ++i) {
      for (const MatmulKernel* kernel :
           {static_cast<const MatmulKernel*>(&table.weights[i]), &table.weights[i].many}) {
        if (kernel->quick_sum == nullptr) continue;
        const auto type = static_cast<WeightType>(i);
        const Shard w = Pack(RandomMatrix(type, rows, 768, 18), table.weights[i].row_tile, 96, cols);
        for (const size_t n : {1, 2, 5, 16, 17, 40}) ExpectFloatProducts(table, *kernel, w, n);
      }
    }
  }
}

}  // namespace
}  // namespace onecopy::kernels
