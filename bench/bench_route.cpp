// SPDX-License-Identifier: Apache-2.0
// The whole route in one call: expert-token resonance from hidden states, and plain softmax top-k from logits.

#include <algorithm>
#include <type_traits>

#include <resonance/affinity/metrics.hpp>
#include <resonance/affinity/score.hpp>
#include <resonance/merge/policies.hpp>
#include <resonance/prune/capacity.hpp>
#include <resonance/route/host_route.hpp>
#include <resonance/route/router.hpp>
#include "harness.hpp"
#include "inputs.hpp"
#include "naive.hpp"

namespace bench {
namespace {

// GrAP, restricted merge, a fixed capacity in affinity order: the same cut on both sides to the last token.
using resonance_router = resonance::router<resonance::affinity::grouped_average_cosine, resonance::token_choice::top_k,
                                           resonance::merge::restricted, resonance::prune::fixed>;
using plain_router = resonance::router<resonance::affinity::logits, resonance::token_choice::top_k,
                                       resonance::merge::token_only, resonance::prune::unlimited>;

// T*H rows or T*E logits in; ids, weights, kept ids and weights, sorted ids and inverse [T,K] and E + 1 offsets out.
template <class Router>
class route_case {
 public:
  static constexpr bool from_hidden = std::is_same_v<Router, resonance_router>;
  using input = std::conditional_t<from_hidden, resonance::affinity::hidden_input<float>,
                                   resonance::affinity::logits_input<float>>;

  static std::string name() { return from_hidden ? "route/grap_restricted/f32" : "route/softmax_top_k/f32"; }

  static double fewest_bytes(const shape& s) {
    return 4.0 * static_cast<double>(s.tokens * columns(s)) + 24.0 * static_cast<double>(s.slots()) +
           4.0 * (static_cast<double>(s.experts) + 1.0);
  }

  explicit route_case(const shape& s)
      : shape_(s),
        rows_(normal_values<float>(s.tokens * columns(s), 1)),
        topk_ids_(zeros<std::int32_t>(s.slots())),
        topk_weights_(zeros<float>(s.slots())),
        kept_ids_(topk_ids_),
        kept_weights_(topk_weights_),
        offsets_(zeros<std::int32_t>(s.experts + 1)),
        sorted_(topk_ids_),
        inverse_(topk_ids_) {
    options_.choice.top_k = s.top_k;
    options_.choice.renormalize = true;
    if constexpr (from_hidden) {
      options_.capacity.count = (s.slots() + s.experts - 1) / s.experts;
      input_.hidden = {rows_.data(), s.tokens, s.hidden};
      input_.experts = s.experts;
    } else {
      input_.logits = {rows_.data(), s.tokens, s.experts};
    }
    out_.choice.topk_ids = topk_ids_.data();
    out_.choice.topk_weights = topk_weights_.data();
    out_.prune.ids = kept_ids_.data();
    out_.prune.weights = kept_weights_.data();
    out_.plan.expert_offsets = offsets_.data();
    out_.plan.sorted_token_ids = sorted_.data();
    out_.plan.inverse = inverse_.data();
    out_.plan.num_rows = num_rows_;
  }
  route_case(const route_case&) = delete;

  std::size_t workspace_bytes(const pool& workers) {
    return Router::workspace_bytes(resonance::on_host(workers), input_, options_);
  }
  resonance::status run(const pool& workers, resonance::workspace_view workspace) {
    return Router::run(resonance::on_host(workers), input_, options_, out_, workspace);
  }

  // The naive stages, one after the other.
  void naive() {
    std::vector<std::int32_t> ids = zeros<std::int32_t>(shape_.slots());
    std::vector<float> weights = zeros<float>(shape_.slots());
    std::vector<float> affinity = zeros<float>(shape_.slots());
    std::vector<float> delta = zeros<float>(shape_.experts);
    naive_softmax_top_k chooser(shape_.experts, shape_.top_k);
    for (std::int64_t t = 0; t < shape_.tokens; ++t) {
      const float* row = rows_.data() + t * columns(shape_);
      if (from_hidden) {
        naive_grap(row, shape_.hidden, shape_.experts, delta.data());
      } else {
        std::copy(row, row + shape_.experts, delta.begin());
      }
      const std::int64_t slot = t * shape_.top_k;
      chooser.choose([&](std::int32_t e) { return delta[e]; }, ids.data() + slot, weights.data() + slot);
      for (std::int32_t k = 0; k < shape_.top_k; ++k) affinity[slot + k] = delta[ids[slot + k]];
    }
    if constexpr (from_hidden) {
      std::vector<std::int32_t> rank = zeros<std::int32_t>(shape_.slots());
      naive_ranks(ids, affinity, shape_.experts, rank);
      for (std::size_t slot = 0; slot < ids.size(); ++slot) {
        if (rank[slot] < options_.capacity.count) continue;
        ids[slot] = -1;
        weights[slot] = 0.0f;
      }
    }
    naive_plan_ = naive_plan(ids, shape_.experts);
    naive_kept_ids_ = std::move(ids);
    naive_kept_weights_ = std::move(weights);
  }

  // GrAP sums in another order here: a near tie may put one token elsewhere, so that loads are compared.
  bool agrees() const {
    for (std::size_t e = 0; e < offsets_.size(); ++e)
      if (std::abs(offsets_[e] - naive_plan_.expert_offsets[e]) > (from_hidden ? 2 + shape_.slots() / 1000 : 0))
        return false;
    return from_hidden || (kept_ids_ == naive_kept_ids_ && inverse_ == naive_plan_.inverse &&
                           close(kept_weights_, naive_kept_weights_, 1e-3f, 1e-6f));
  }

 private:
  static std::int64_t columns(const shape& s) { return from_hidden ? s.hidden : s.experts; }

  shape shape_;
  std::vector<float> rows_;
  std::vector<std::int32_t> topk_ids_;
  std::vector<float> topk_weights_;
  std::vector<std::int32_t> kept_ids_;
  std::vector<float> kept_weights_;
  std::vector<std::int32_t> offsets_;
  std::vector<std::int32_t> sorted_;
  std::vector<std::int32_t> inverse_;
  std::int64_t num_rows_[2] = {};
  input input_;
  typename Router::options options_;
  resonance::route::outputs<> out_;
  naive_plan naive_plan_;
  std::vector<std::int32_t> naive_kept_ids_;
  std::vector<float> naive_kept_weights_;
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  using namespace bench;
  const sizes which = read_sizes(argc, argv);
  add<route_case<plain_router>>(shapes(which, {8, 4096}));
  add<route_case<resonance_router>>(shapes(which, {8, 1024}));
  return run_all(argc, argv);
}
