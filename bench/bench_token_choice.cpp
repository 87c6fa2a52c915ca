// SPDX-License-Identifier: Apache-2.0
// Top-k per token: from logits (softmax, renormalized), and from hidden states by GrAP in one pass.

#include <resonance/affinity/host_affinity.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/token_choice/host_token_choice.hpp>
#include "harness.hpp"
#include "inputs.hpp"
#include "naive.hpp"

namespace bench {
namespace {

namespace affinity = resonance::affinity;
namespace token_choice = resonance::token_choice;

// T*E logits, or T*H rows where GrAP reads them, in; T*K ids and weights out.
template <class Metric, class Row>
class token_choice_case {
 public:
  static constexpr bool grap = Metric::reads == affinity::operand::slice;
  using input = std::conditional_t<grap, affinity::hidden_input<Row>, affinity::logits_input<Row>>;
  using source = affinity::host_source<Metric, input>;

  static std::string name() {
    return std::string("token_choice/") + (grap ? "grap_top_k/" : "softmax_top_k/") + type_name<Row>();
  }

  static double fewest_bytes(const shape& s) {
    return static_cast<double>(s.tokens * columns(s)) * sizeof(Row) + 8.0 * static_cast<double>(s.slots());
  }

  explicit token_choice_case(const shape& s)
      : shape_(s),
        rows_(normal_values<Row>(s.tokens * columns(s), 1)),
        ids_(zeros<std::int32_t>(s.slots())),
        weights_(zeros<float>(s.slots())),
        naive_ids_(ids_),
        naive_weights_(weights_) {
    options_.top_k = s.top_k;
    options_.renormalize = true;
    if constexpr (grap) {
      input_.hidden = rows_of(rows_, s.tokens, s.hidden);
      input_.experts = s.experts;
    } else {
      input_.logits = rows_of(rows_, s.tokens, s.experts);
    }
  }
  token_choice_case(const token_choice_case&) = delete;

  std::size_t workspace_bytes(const pool& workers) {
    return token_choice::host_token_choice_workspace_bytes(workers, source(Metric{}, input_));
  }
  resonance::status run(const pool& workers, resonance::workspace_view workspace) {
    return token_choice::host_token_choice(workers, source(Metric{}, input_), affinity::softmax{},
                                           token_choice::top_k{}, options_, {ids_.data(), weights_.data(), nullptr}, {},
                                           workspace);
  }

  void naive() {
    naive_softmax_top_k chooser(shape_.experts, shape_.top_k);
    std::vector<float> delta(static_cast<std::size_t>(shape_.experts));
    for (std::int64_t t = 0; t < shape_.tokens; ++t) {
      const Row* row = rows_.data() + t * columns(shape_);
      std::int32_t* ids = naive_ids_.data() + t * shape_.top_k;
      float* weights = naive_weights_.data() + t * shape_.top_k;
      if (grap) {
        naive_grap(row, shape_.hidden, shape_.experts, delta.data());
        chooser.choose([&](std::int32_t e) { return delta[e]; }, ids, weights);
      } else {
        chooser.choose([&](std::int32_t e) { return to_float(row[e]); }, ids, weights);
      }
    }
  }

  // GrAP sums in another order here, so that near ties may swap; the weights then still agree.
  bool agrees() const { return (grap || ids_ == naive_ids_) && close(weights_, naive_weights_, 1e-3f, 1e-6f); }

 private:
  static std::int64_t columns(const shape& s) { return grap ? s.hidden : s.experts; }

  shape shape_;
  std::vector<Row> rows_;
  std::vector<std::int32_t> ids_;
  std::vector<float> weights_;
  std::vector<std::int32_t> naive_ids_;
  std::vector<float> naive_weights_;
  input input_;
  token_choice::options options_;
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  using namespace bench;
  const sizes which = read_sizes(argc, argv);
  add<token_choice_case<affinity::logits, float>>(shapes(which, {8, 4096}));
  add<token_choice_case<affinity::logits, resonance::bfloat16>>(shapes(which, {4096}));
  add<token_choice_case<affinity::grouped_average_cosine, float>>(shapes(which, {1024}));
  return run_all(argc, argv);
}
