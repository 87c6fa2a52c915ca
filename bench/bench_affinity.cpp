// SPDX-License-Identifier: Apache-2.0
// Affinity alone, written to memory: GrAP, and the dot product with a gate.

#include <resonance/affinity/host_affinity.hpp>
#include "harness.hpp"
#include "inputs.hpp"
#include "naive.hpp"

namespace bench {
namespace {

namespace affinity = resonance::affinity;

// T*H rows in, T*E deltas out; with a gate its E*H weights once.
template <class Metric, class Row>
class affinity_case {
 public:
  static constexpr bool gated = Metric::reads == affinity::operand::gate;

  static std::string name() { return std::string("affinity/") + (gated ? "dot/" : "grap/") + type_name<Row>(); }

  static double fewest_bytes(const shape& s) {
    const double rows = static_cast<double>((s.tokens + (gated ? s.experts : 0)) * s.hidden) * sizeof(Row);
    return rows + 4.0 * static_cast<double>(s.tokens * s.experts);
  }

  explicit affinity_case(const shape& s)
      : shape_(s),
        hidden_(normal_values<Row>(s.tokens * s.hidden, 1)),
        gate_(normal_values<Row>(gated ? s.experts * s.hidden : 0, 2)),
        delta_(zeros<float>(s.tokens * s.experts)),
        naive_delta_(delta_) {
    input_.hidden = rows_of(hidden_, s.tokens, s.hidden);
    if (gated) input_.gate = rows_of(gate_, s.experts, s.hidden);
    input_.experts = s.experts;
  }
  affinity_case(const affinity_case&) = delete;

  std::size_t workspace_bytes(const pool& workers) {
    return affinity::host_affinity_workspace_bytes(workers, Metric{}, input_);
  }
  resonance::status run(const pool& workers, resonance::workspace_view workspace) {
    return affinity::host_affinity(workers, Metric{}, input_, rows_of(delta_, shape_.tokens, shape_.experts),
                                   workspace);
  }

  void naive() {
    for (std::int64_t t = 0; t < shape_.tokens; ++t) {
      const Row* x = input_.hidden.row(t);
      float* delta = naive_delta_.data() + t * shape_.experts;
      if (!gated) {
        naive_grap(x, shape_.hidden, shape_.experts, delta);
        continue;
      }
      for (std::int32_t e = 0; e < shape_.experts; ++e) {
        const Row* w = gate_.data() + e * shape_.hidden;
        float sum = 0.0f;
        for (std::int64_t j = 0; j < shape_.hidden; ++j) sum += to_float(x[j]) * to_float(w[j]);
        delta[e] = sum;
      }
    }
  }

  bool agrees() const { return close(delta_, naive_delta_, 1e-3f, gated ? 1e-2f : 1e-4f); }

 private:
  shape shape_;
  std::vector<Row> hidden_;
  std::vector<Row> gate_;
  std::vector<float> delta_;
  std::vector<float> naive_delta_;
  affinity::hidden_input<Row> input_;
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  using namespace bench;
  const sizes which = read_sizes(argc, argv);
  add<affinity_case<affinity::grouped_average_cosine, float>>(shapes(which, {8, 1024}));
  add<affinity_case<affinity::grouped_average_cosine, resonance::bfloat16>>(shapes(which, {1024}));
  add<affinity_case<affinity::dot, float>>(shapes(which, {8}));
  return run_all(argc, argv);
}
