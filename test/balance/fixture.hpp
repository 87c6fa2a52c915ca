// SPDX-License-Identifier: Apache-2.0
// Batch statistics beside the reference's.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "permute/fixture.hpp"
#include "reference/balance.hpp"
#include "resonance/core/row_type.hpp"
#include "support/assignments.hpp"

namespace balance_test {

using permute_test::stored_rows;

struct statistics {
  support::guarded_buffer<double> mean_probability, z_loss;
  explicit statistics(std::int64_t experts) : mean_probability(static_cast<std::size_t>(experts)), z_loss(1) {}
  bool intact() const { return mean_probability.intact() && z_loss.intact(); }
  bool untouched() const { return mean_probability.untouched() && z_loss.untouched(); }
  std::string bits() const { return support::bits_of(mean_probability, z_loss); }
};

//! Statistics of adversarial logits, to a few roundings of fp32 terms; run(logits) gives them.
template <class Row, class Run>
void expect_reference_statistics(support::random_source& random, const support::batch_shape& s, support::adversary kind,
                                 const Run& run) {
  SCOPED_TRACE(::testing::Message() << s << " " << support::name_of(kind));
  const double largest = static_cast<double>(resonance::row_traits<Row>::largest);
  stored_rows<Row> logits(s.tokens, s.experts, 1, 1);
  for (std::int64_t t = 0; t < s.tokens; ++t)
    for (std::int64_t e = 0; e < s.experts; ++e)
      permute_test::encode(support::adversarial_value(random, kind), logits.at(t, e));
  const reference::matrix wide = logits.widened();
  reference::matrix probabilities(wide.rows, wide.cols);
  for (std::size_t t = 0; t < wide.rows; ++t) {
    const std::vector<double> row = reference::softmax(wide.row(t), largest);
    std::copy(row.begin(), row.end(), probabilities.values.begin() + static_cast<std::ptrdiff_t>(t * wide.cols));
  }
  const statistics got = run(logits);
  const std::vector<double> expected = reference::mean_probability(probabilities);
  for (std::size_t e = 0; e < expected.size(); ++e)
    EXPECT_NEAR(got.mean_probability[e], expected[e], 1e-6 * expected[e] + 1e-30) << "expert " << e;
  const double z = reference::z_loss(wide, largest);
  EXPECT_NEAR(got.z_loss[0], z, 1e-5 * z + 1e-12);
}

//! Separation of tokens by experts, of a table of assignments and of its ragged copy; run(x, assignments) gives it.
template <class Row, class Run>
void expect_reference_separation(support::random_source& random, const support::batch_shape& s, const Run& run) {
  SCOPED_TRACE(::testing::Message() << s);
  const support::random_choices c(random, s, {support::adversary::ties, 0.2, true});
  stored_rows<Row> x(s.tokens, 19, 2, 1);
  x.fill_normal(random);
  for (std::int64_t t = 0; t < s.tokens; ++t)  // experts that do separate tokens, not only noise
    for (std::int64_t j = 0; j < 19; ++j)
      permute_test::encode(
          static_cast<float>(permute_test::value_of(x.at(t, j)) + 0.5 * (c.ids[c.count(t, s.top_k)] % 3)), x.at(t, j));
  const double expected = reference::calinski_harabasz(x.widened(), c.reference_ids(), c.experts());
  EXPECT_NEAR(run(x, c.view()), expected, 1e-9 * expected);
  const support::ragged_copy ragged(c.view(), false);
  EXPECT_NEAR(run(x, ragged.view()), expected, 1e-9 * expected);
}

}  // namespace balance_test
