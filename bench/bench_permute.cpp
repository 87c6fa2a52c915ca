// SPDX-License-Identifier: Apache-2.0
// Permute: every token's row to the rows that the plan gave it.

#include <resonance/permute/host_permute.hpp>
#include "choices.hpp"
#include "harness.hpp"

namespace bench {
namespace {

namespace permute = resonance::permute;

// T*H rows in, T*K*H rows out, T*K row numbers in.
template <class Row>
class permute_case {
 public:
  static std::string name() { return "permute/" + type_name<Row>(); }

  static double fewest_bytes(const shape& s) {
    return static_cast<double>((s.tokens + s.slots()) * s.hidden) * sizeof(Row) + 4.0 * static_cast<double>(s.slots());
  }

  explicit permute_case(const shape& s)
      : shape_(s),
        choices_(s),
        plan_(choices_.ids, s.experts),
        x_(normal_values<Row>(s.tokens * s.hidden, 2)),
        permuted_(zeros<Row>(s.slots() * s.hidden)),
        naive_permuted_(zeros<Row>(s.slots() * s.hidden)) {
    row_plan_.assignments = choices_.view;
    row_plan_.sorted_token_ids = plan_.sorted_token_ids.data();
    row_plan_.inverse = plan_.inverse.data();
    row_plan_.num_rows = s.slots();
  }

  std::size_t workspace_bytes(const pool&) { return 0; }
  resonance::status run(const pool& workers, resonance::workspace_view) {
    return permute::host_permute(workers, resonance::matrix_view<const Row>(x_.data(), shape_.tokens, shape_.hidden),
                                 row_plan_, rows_of(permuted_, shape_.slots(), shape_.hidden));
  }

  // Row by row in the order of the output.
  void naive() {
    const std::size_t row_bytes = static_cast<std::size_t>(shape_.hidden) * sizeof(Row);
    for (std::int64_t row = 0; row < shape_.slots(); ++row) {
      const std::int64_t token = plan_.sorted_token_ids[row] / shape_.top_k;
      std::memcpy(naive_permuted_.data() + row * shape_.hidden, x_.data() + token * shape_.hidden, row_bytes);
    }
  }

  bool agrees() const {
    return permuted_.empty() ||
           std::memcmp(permuted_.data(), naive_permuted_.data(), permuted_.size() * sizeof(Row)) == 0;
  }

 private:
  shape shape_;
  choices choices_;
  naive_plan plan_;
  std::vector<Row> x_;
  std::vector<Row> permuted_;
  std::vector<Row> naive_permuted_;
  permute::row_plan<> row_plan_;
};

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  using namespace bench;
  const sizes which = read_sizes(argc, argv);
  add<permute_case<float>>(shapes(which, {8, 1024}));
  add<permute_case<resonance::bfloat16>>(shapes(which, {1024}));
  return run_all(argc, argv);
}
