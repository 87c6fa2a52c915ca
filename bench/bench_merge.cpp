// SPDX-License-Identifier: Apache-2.0
// Resonance merge: restricted (rank every expert's members), intersection (keep what both sides chose).

#include <algorithm>
#include <type_traits>

#include <resonance/merge/host_merge.hpp>
#include "choices.hpp"
#include "harness.hpp"

namespace bench {
namespace {

namespace merge = resonance::merge;

// T*K ids and affinities in, T*K ranks out; intersection also reads T*E affinities and writes T*K ids.
template <class Policy>
class merge_case {
 public:
  static constexpr bool asks_experts = Policy::needs_expert_choice;

  static std::string name() { return asks_experts ? "merge/intersection/f32" : "merge/restricted/f32"; }

  static double fewest_bytes(const shape& s) {
    const double slots = static_cast<double>(s.slots());
    return asks_experts ? 16.0 * slots + 4.0 * static_cast<double>(s.tokens * s.experts) : 12.0 * slots;
  }

  explicit merge_case(const shape& s)
      : shape_(s),
        choices_(s),
        ids_(choices_.ids),
        rank_(zeros<std::int32_t>(s.slots())),
        naive_ids_(choices_.ids),
        naive_rank_(rank_) {
    if (asks_experts) expert_.affinity = {choices_.logits.data(), s.tokens, s.experts};
    expert_.capacity = (s.slots() + s.experts - 1) / s.experts;
    buffers_.ids = ids_.data();
    buffers_.rank_in_expert = rank_.data();
  }

  std::size_t workspace_bytes(const pool& workers) {
    return merge::host_merge_workspace_bytes<Policy>(workers, shape_.tokens, shape_.experts, shape_.top_k,
                                                     expert_.capacity);
  }
  resonance::status run(const pool& workers, resonance::workspace_view workspace) {
    return merge::host_merge(workers, Policy{}, choices_.view, expert_, buffers_, workspace);
  }

  void naive() {
    if (asks_experts) naive_intersection();
    naive_ranks(naive_ids_, choices_.affinity, shape_.experts, naive_rank_);
  }

  bool agrees() const { return ids_ == naive_ids_ && rank_ == naive_rank_; }

 private:
  // Every expert sorts all tokens; a table says whom it took.
  void naive_intersection() {
    const std::int64_t experts = shape_.experts;
    std::vector<char> taken(static_cast<std::size_t>(shape_.tokens * experts), 0);
    std::vector<std::int32_t> order(static_cast<std::size_t>(shape_.tokens));
    const std::int64_t count = std::min(expert_.capacity, shape_.tokens);
    for (std::int64_t e = 0; e < experts; ++e) {
      const auto affinity = [&](std::int32_t t) { return choices_.logits[t * experts + e]; };
      std::iota(order.begin(), order.end(), 0);
      std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](std::int32_t a, std::int32_t b) {
        return affinity(a) != affinity(b) ? affinity(a) > affinity(b) : a < b;
      });
      for (std::int64_t k = 0; k < count; ++k) taken[order[k] * experts + e] = 1;
    }
    for (std::int64_t slot = 0; slot < shape_.slots(); ++slot) {
      const std::int32_t e = choices_.ids[slot];
      naive_ids_[slot] = taken[slot / shape_.top_k * experts + e] ? e : -1;
    }
  }

  shape shape_;
  choices choices_;
  std::vector<std::int32_t> ids_;
  std::vector<std::int32_t> rank_;
  std::vector<std::int32_t> naive_ids_;
  std::vector<std::int32_t> naive_rank_;
  merge::expert_side expert_;
  resonance::assignment_buffers buffers_;
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  using namespace bench;
  const sizes which = read_sizes(argc, argv);
  add<merge_case<merge::restricted>>(shapes(which, {64, 4096}));
  add<merge_case<merge::intersection>>(shapes(which, {4096}));
  return run_all(argc, argv);
}
