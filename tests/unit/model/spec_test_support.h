// Shared by the tests of families: loading, and what every complete ModelSpec must satisfy.
#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <tuple>

#include "runtime/model/model_spec.h"
#include "tests/unit/model/model_test_support.h"

namespace onecopy::testing {

inline proto::ModelSpec Load(const std::string& path) {
  return BuildModelSpec(OpenCheckpoint(path));
}

inline proto::ModelSpec LoadGguf(const GgufWriter& gguf) {
  const TempDir dir;
  gguf.Write(dir / "m.gguf");
  return Load(dir / "m.gguf");
}

// Every (role, layer, expert) that the spec's hyper-parameters ask for is there exactly once, with its shape.
inline void ExpectCompleteAndShaped(const proto::ModelSpec& spec,
                                    const std::set<proto::Weight::Role>& optional_roles) {
  std::set<std::tuple<int, uint32_t, uint32_t>> seen;
  for (const proto::Weight& weight : spec.weights()) {
    const RoleShape shape = ShapeOfRole(spec, weight.role(), weight.layer());
    EXPECT_EQ(weight.rows(), shape.rows) << weight.name();
    EXPECT_EQ(weight.cols(), shape.cols) << weight.name();
    EXPECT_EQ(weight.n_experts() > 0, IsExpertRole(weight.role())) << weight.name();
    EXPECT_LT(weight.file(), static_cast<uint32_t>(spec.files_size()));
    for (uint32_t i = 0; i < std::max(1u, weight.n_experts()); ++i) {
      EXPECT_TRUE(seen.emplace(weight.role(), weight.layer(), weight.first_expert() + i).second)
          << weight.name();
    }
  }
  size_t expected = 2 + (spec.tied_embeddings() ? 0 : 1);
  for (uint32_t layer = 0; layer < spec.n_layers(); ++layer) {
    expected += 6 + optional_roles.size() + (IsDenseLayer(spec, layer) ? 3 : 1 + 3 * spec.n_experts());
  }
  EXPECT_EQ(seen.size(), expected);
}

}  // namespace onecopy::testing
