// SPDX-License-Identifier: Apache-2.0
// Capacity pruning: a fixed capacity in token order, and the affinity mass rule at rho = .76.

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include <resonance/prune/host_prune.hpp>
#include "choices.hpp"
#include "harness.hpp"

namespace bench {
namespace {

namespace prune = resonance::prune;

constexpr double mass_share = 0.76;

// T*K ids and weights in and out, E kept counts out; the mass rule also reads T*K affinities and ranks.
template <class Rule>
class prune_case {
 public:
  static constexpr bool by_mass = Rule::by_mass;

  static std::string name() { return by_mass ? "prune/affinity_mass/f32" : "prune/fixed_by_position/f32"; }

  static double fewest_bytes(const shape& s) {
    return (by_mass ? 24.0 : 16.0) * static_cast<double>(s.slots()) + 8.0 * s.experts;
  }

  explicit prune_case(const shape& s)
      : shape_(s),
        choices_(s),
        ids_(choices_.ids),
        weights_(choices_.weights),
        kept_(zeros<std::int64_t>(s.experts)),
        naive_ids_(ids_),
        naive_weights_(weights_),
        naive_kept_(kept_) {
    if constexpr (by_mass) {
      rule_.rho = mass_share;
    } else {
      rule_.count = (s.slots() + s.experts - 1) / s.experts;
    }
    out_.ids = ids_.data();
    out_.weights = weights_.data();
    out_.kept = kept_.data();
  }

  std::size_t workspace_bytes(const pool& workers) { return prune::host_prune_workspace_bytes(workers, choices_.view); }
  resonance::status run(const pool& workers, resonance::workspace_view workspace) {
    return prune::host_prune(workers, rule_, prune::position{}, choices_.view, {}, out_, workspace);
  }

  // Members of every expert in a vector; by mass: sorted by affinity, added up in double.
  void naive() {
    std::vector<std::vector<std::int32_t>> members(static_cast<std::size_t>(shape_.experts));
    for (std::size_t slot = 0; slot < choices_.ids.size(); ++slot)
      members[choices_.ids[slot]].push_back(static_cast<std::int32_t>(slot));
    for (std::int32_t e = 0; e < shape_.experts; ++e) {
      std::vector<std::int32_t>& slots = members[e];
      if (by_mass) {
        std::stable_sort(slots.begin(), slots.end(),
                         [&](std::int32_t a, std::int32_t b) { return choices_.affinity[a] > choices_.affinity[b]; });
      }
      const std::int64_t count = static_cast<std::int64_t>(slots.size());
      naive_kept_[e] = std::min(count, naive_capacity(slots));
      for (std::int64_t k = 0; k < count; ++k) {
        const bool keep = k < naive_kept_[e];
        naive_ids_[slots[k]] = keep ? e : -1;
        naive_weights_[slots[k]] = keep ? choices_.weights[slots[k]] : 0.0f;
      }
    }
  }

  // The naive mass is a rounded sum, so that its cut may fall one place beside the exact one.
  bool agrees() const {
    if (!by_mass) return ids_ == naive_ids_ && weights_ == naive_weights_ && kept_ == naive_kept_;
    for (std::size_t e = 0; e < kept_.size(); ++e)
      if (std::llabs(kept_[e] - naive_kept_[e]) > 1) return false;
    return true;
  }

 private:
  std::int64_t naive_capacity(const std::vector<std::int32_t>& slots) const {
    if constexpr (by_mass) {
      double total = 0.0;
      for (const std::int32_t slot : slots) total += std::max(choices_.affinity[slot], 0.0f);
      double mass = 0.0;
      std::size_t kept = 0;
      while (kept < slots.size() && mass < mass_share * total) mass += std::max(choices_.affinity[slots[kept++]], 0.0f);
      return static_cast<std::int64_t>(total > 0.0 ? kept : slots.size());
    } else {
      return slots.empty() ? 0 : rule_.count;
    }
  }

  shape shape_;
  choices choices_;
  std::vector<std::int32_t> ids_;
  std::vector<float> weights_;
  std::vector<std::int64_t> kept_;
  std::vector<std::int32_t> naive_ids_;
  std::vector<float> naive_weights_;
  std::vector<std::int64_t> naive_kept_;
  Rule rule_;
  prune::outputs out_;
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  using namespace bench;
  const sizes which = read_sizes(argc, argv);
  add<prune_case<prune::affinity_mass>>(shapes(which, {64, 4096}));
  add<prune_case<prune::fixed>>(shapes(which, {4096}));
  return run_all(argc, argv);
}
