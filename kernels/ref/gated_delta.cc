#include "kernels/ref/ref.h"

namespace onecopy::kernels::ref {

void gated_delta(const GatedDelta& run) {
  for (size_t t = 0; t < run.n_tokens; ++t) {
    const float* q = run.q + t * run.qk_stride;
    const float* k = run.k + t * run.qk_stride;
    const float* v = run.v + t * run.v_stride;
    float* out = run.out + t * run.out_stride;
    const float decay = run.decay[t * run.gate_stride], beta = run.beta[t * run.gate_stride];
    float delta[kDeltaValues] = {}, sum[kDeltaValues] = {};
    for (size_t i = 0; i < run.key_dim; ++i) {
      float* row = run.state + i * kDeltaValues;
      for (size_t j = 0; j < kDeltaValues; ++j) {
        row[j] *= decay;
        delta[j] += row[j] * k[i];
      }
    }
    for (size_t j = 0; j < kDeltaValues; ++j) delta[j] = (v[j] - delta[j]) * beta;
    for (size_t i = 0; i < run.key_dim; ++i) {
      float* row = run.state + i * kDeltaValues;
      for (size_t j = 0; j < kDeltaValues; ++j) {
        row[j] += k[i] * delta[j];
        sum[j] += row[j] * q[i];
      }
    }
    for (size_t j = 0; j < kDeltaValues; ++j) out[j] = sum[j];
  }
}

}  // namespace onecopy::kernels::ref
