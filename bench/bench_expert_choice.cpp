// SPDX-License-Identifier: Apache-2.0
// Top-C tokens per expert over all tokens, C = ceil(T*K/E).

#include <algorithm>
#include <utility>

#include <resonance/expert_choice/host_expert_choice.hpp>
#include "harness.hpp"
#include "inputs.hpp"

namespace bench {
namespace {

namespace expert_choice = resonance::expert_choice;

// T*E scores in, E*C ids and scores out.
class expert_choice_case {
 public:
  static std::string name() { return "expert_choice/all_tokens/f32"; }

  static double fewest_bytes(const shape& s) {
    return 4.0 * static_cast<double>(s.tokens * s.experts) + 8.0 * static_cast<double>(s.experts * capacity(s));
  }

  explicit expert_choice_case(const shape& s)
      : shape_(s),
        scores_(normal_values<float>(s.tokens * s.experts, 1)),
        ids_(zeros<std::int32_t>(s.experts * capacity(s))),
        chosen_(zeros<float>(s.experts * capacity(s))),
        naive_ids_(ids_),
        naive_chosen_(chosen_) {
    options_.capacity = capacity(s);
  }

  std::size_t workspace_bytes(const pool& workers) {
    return expert_choice::host_expert_choice_workspace_bytes(workers, shape_.tokens);
  }
  resonance::status run(const pool& workers, resonance::workspace_view workspace) {
    return expert_choice::host_expert_choice(workers, view(), options_, {ids_.data(), chosen_.data()}, workspace);
  }

  void naive() {
    std::vector<std::pair<float, std::int32_t>> column(static_cast<std::size_t>(shape_.tokens));
    for (std::int32_t e = 0; e < shape_.experts; ++e) {
      for (std::int32_t t = 0; t < shape_.tokens; ++t) column[t] = {view().row(t)[e], t};
      const std::int64_t found = std::min(options_.capacity, shape_.tokens);
      std::partial_sort(column.begin(), column.begin() + found, column.end(), [](const auto& a, const auto& b) {
        return a.first != b.first ? a.first > b.first : a.second < b.second;
      });
      for (std::int64_t k = 0; k < options_.capacity; ++k) {
        naive_chosen_[e * options_.capacity + k] = k < found ? column[k].first : 0.0f;
        naive_ids_[e * options_.capacity + k] = k < found ? column[k].second : -1;
      }
    }
  }

  bool agrees() const { return ids_ == naive_ids_ && chosen_ == naive_chosen_; }

 private:
  static std::int64_t capacity(const shape& s) {
    return std::max<std::int64_t>(1, (s.slots() + s.experts - 1) / s.experts);
  }
  resonance::matrix_view<const float> view() const { return {scores_.data(), shape_.tokens, shape_.experts}; }

  shape shape_;
  std::vector<float> scores_;
  std::vector<std::int32_t> ids_;
  std::vector<float> chosen_;
  std::vector<std::int32_t> naive_ids_;
  std::vector<float> naive_chosen_;
  expert_choice::options options_;
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  using namespace bench;
  const sizes which = read_sizes(argc, argv);
  add<expert_choice_case>(shapes(which, {64, 4096}));
  return run_all(argc, argv);
}
