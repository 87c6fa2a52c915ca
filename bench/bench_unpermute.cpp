// SPDX-License-Identifier: Apache-2.0
// Unpermute: every token's weighted sum of its experts' rows.

#include <resonance/permute/host_unpermute.hpp>
#include "choices.hpp"
#include "harness.hpp"

namespace bench {
namespace {

namespace permute = resonance::permute;

// T*K*H rows in, T*H rows out, T*K row numbers and weights in.
template <class Row>
class unpermute_case {
 public:
  static std::string name() { return "unpermute/" + type_name<Row>(); }

  static double fewest_bytes(const shape& s) {
    return static_cast<double>((s.tokens + s.slots()) * s.hidden) * sizeof(Row) + 8.0 * static_cast<double>(s.slots());
  }

  explicit unpermute_case(const shape& s)
      : shape_(s),
        choices_(s),
        plan_(choices_.ids, s.experts),
        permuted_(normal_values<Row>(s.slots() * s.hidden, 2)),
        y_(zeros<Row>(s.tokens * s.hidden)),
        naive_y_(y_) {
    row_plan_.assignments = choices_.view;
    row_plan_.sorted_token_ids = plan_.sorted_token_ids.data();
    row_plan_.inverse = plan_.inverse.data();
    row_plan_.num_rows = s.slots();
  }

  std::size_t workspace_bytes(const pool&) { return 0; }
  resonance::status run(const pool& workers, resonance::workspace_view) {
    return permute::host_unpermute(workers,
                                   resonance::matrix_view<const Row>(permuted_.data(), shape_.slots(), shape_.hidden),
                                   row_plan_, rows_of(y_, shape_.tokens, shape_.hidden));
  }

  // A row of sums per token, one expert's row added after the other.
  void naive() {
    std::vector<float> sum(static_cast<std::size_t>(shape_.hidden));
    for (std::int64_t t = 0; t < shape_.tokens; ++t) {
      std::fill(sum.begin(), sum.end(), 0.0f);
      for (std::int64_t slot = t * shape_.top_k; slot < (t + 1) * shape_.top_k; ++slot) {
        const Row* row = permuted_.data() + plan_.inverse[slot] * shape_.hidden;
        for (std::int64_t j = 0; j < shape_.hidden; ++j) sum[j] += choices_.weights[slot] * to_float(row[j]);
      }
      for (std::int64_t j = 0; j < shape_.hidden; ++j)
        naive_y_[t * shape_.hidden + j] = resonance::row_traits<Row>::narrow(sum[j]);
    }
  }

  bool agrees() const { return close(y_, naive_y_, 1e-2f, 1e-4f); }

 private:
  shape shape_;
  choices choices_;
  naive_plan plan_;
  std::vector<Row> permuted_;
  std::vector<Row> y_;
  std::vector<Row> naive_y_;
  permute::row_plan<> row_plan_;
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  using namespace bench;
  const sizes which = read_sizes(argc, argv);
  add<unpermute_case<float>>(shapes(which, {8, 1024}));
  add<unpermute_case<resonance::bfloat16>>(shapes(which, {1024}));
  return run_all(argc, argv);
}
