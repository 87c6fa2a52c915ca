// SPDX-License-Identifier: Apache-2.0
// The plan: rows grouped by expert, dense.

#include <resonance/plan/host_plan.hpp>
#include "choices.hpp"
#include "harness.hpp"

namespace bench {
namespace {

namespace plan = resonance::plan;

// T*K ids in, T*K sorted ids and T*K inverse out, E + 1 offsets.
class plan_case {
 public:
  static std::string name() { return "plan/dense/i32"; }

  static double fewest_bytes(const shape& s) {
    return 12.0 * static_cast<double>(s.slots()) + 4.0 * (static_cast<double>(s.experts) + 1.0);
  }

  explicit plan_case(const shape& s)
      : choices_(s),
        offsets_(zeros<std::int32_t>(s.experts + 1)),
        sorted_(zeros<std::int32_t>(s.slots())),
        inverse_(zeros<std::int32_t>(s.slots())) {
    out_.expert_offsets = offsets_.data();
    out_.sorted_token_ids = sorted_.data();
    out_.inverse = inverse_.data();
    out_.num_rows = num_rows_;
  }

  std::size_t workspace_bytes(const pool& workers) {
    return plan::host_plan_workspace_bytes(workers, choices_.view, plan::options{});
  }
  resonance::status run(const pool& workers, resonance::workspace_view workspace) {
    return plan::host_plan(workers, choices_.view, plan::options{}, out_, workspace);
  }
  void naive() { naive_ = naive_plan(choices_.ids, choices_.view.experts); }

  bool agrees() const {
    return offsets_ == naive_.expert_offsets && sorted_ == naive_.sorted_token_ids && inverse_ == naive_.inverse;
  }

 private:
  choices choices_;
  std::vector<std::int32_t> offsets_;
  std::vector<std::int32_t> sorted_;
  std::vector<std::int32_t> inverse_;
  std::int64_t num_rows_[2] = {};
  plan::outputs<> out_;
  naive_plan naive_;
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  using namespace bench;
  const sizes which = read_sizes(argc, argv);
  add<plan_case>(shapes(which, {8, 64, 4096}));
  return run_all(argc, argv);
}
