// SPDX-License-Identifier: Apache-2.0
// Metrics on slices, bit for bit against the written order of additions, for every way in which slices lie over the
// lanes of a sum, and in every way in which the host adds them up.
#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <gtest/gtest.h>

#include <resonance/affinity/host_affinity.hpp>

#include "affinity/fixture.hpp"
#include "affinity/typed_rows.hpp"
#include "core/naive_sum.hpp"
#include "reference/affinity.hpp"
#include "support/executors.hpp"
#include "support/poison.hpp"
#include "support/random.hpp"

//! A row type of a user's own: the host knows no registers for it and takes the portable way.
struct own_row {
  float value;
};

template <>
struct resonance::row_traits<own_row> {
  static float widen(own_row row) { return row.value; }
  static own_row narrow(float value) { return {value}; }
  static constexpr float largest = resonance::row_traits<float>::largest;
};

namespace {

namespace affinity = resonance::affinity;
using affinity_test::padded_rows;

struct slices {
  std::size_t experts, hidden;
};

const std::vector<slices> shapes = {
    // As many columns each: 1, 2, 4, 8, 16, 32, 64; in less than a batch, in several chunks, with an incomplete end.
    {1, 1},
    {77, 77},
    {1040, 1040},
    {600, 1200},
    {300, 1200},
    {150, 1200},
    {70, 1120},
    {128, 4096},
    {512, 2048},
    {80, 1280},
    {37, 1184},
    {19, 1216},
    // Whole groups of lanes, but no power of two of them.
    {45, 2160},
    {20, 2240},
    // Slices that begin anywhere: a few columns, across groups, across 128 lanes, across chunks.
    {13, 77},
    {512, 1500},
    {257, 1031},
    {100, 4096},
    {128, 2880},
    {256, 7168},
    {25, 2600},
    // The longest of the short, the shortest of the long.
    {20, 2260},
    {20, 2261},
    {20, 2500},
    // Long ones: one after the other, across chunks, several chunks.
    {9, 1152},
    {7, 4099},
    {3, 3073},
    {2, 1023},
    {1, 1024},
    {1, 1025},
    {1, 5000},
};

template <class Metric, class Row>
std::vector<float> run(const Metric& metric, const affinity::hidden_input<Row>& input) {
  const auto pairs = static_cast<std::size_t>(input.hidden.rows * input.experts);
  support::guarded_buffer<float> out(pairs);
  support::guarded_buffer<char> workspace(affinity::host_affinity_workspace_bytes(support::serial(), metric, input), 1);
  EXPECT_TRUE(affinity::host_affinity(support::serial(), metric, input,
                                      {out.data(), input.hidden.rows, std::int64_t{input.experts}},
                                      {workspace.data(), workspace.size()})
                  .ok());
  EXPECT_TRUE(out.intact() && workspace.intact());
  return {out.begin(), out.end()};
}

struct expected_deltas {
  std::vector<float> cosine, mean;

  expected_deltas(const std::vector<float>& x, std::size_t tokens, const slices& s, const float* weights) {
    for (std::size_t t = 0; t < tokens; ++t) {
      const float* row = x.data() + t * s.hidden;
      const auto product = [](const float* a, const float* b) {
        return [=](float sum, std::int64_t j) { return std::fma(a[j], b[j], sum); };
      };
      const float token_norm = std::sqrt(naive::ordered_sum(0, static_cast<std::int64_t>(s.hidden), product(row, row)));
      for (std::size_t e = 0; e < s.experts; ++e) {
        const auto begin = static_cast<std::int64_t>(reference::slice_begin(e, s.hidden, s.experts));
        const auto end = static_cast<std::int64_t>(reference::slice_begin(e + 1, s.hidden, s.experts));
        const auto length = static_cast<float>(end - begin);
        const float sum = weights == nullptr
                              ? naive::ordered_sum(begin, end, [=](float acc, std::int64_t j) { return acc + row[j]; })
                              : naive::ordered_sum(begin, end, product(row, weights));
        const float norm =
            std::sqrt(weights == nullptr ? length : naive::ordered_sum(begin, end, product(weights, weights)));
        const float norms = token_norm * norm;
        cosine.push_back(norms == 0.0F ? 0.0F : sum / norms);
        mean.push_back(sum / length);
      }
    }
  }
};

template <class Row>
void expect_the_written_order(const affinity::hidden_input<Row>& rows, const std::vector<float>& x, const slices& s,
                              const std::vector<float>& weights) {
  for (const float* v : {static_cast<const float*>(nullptr), weights.data()}) {
    affinity::hidden_input<Row> input = rows;
    input.experts = static_cast<std::int32_t>(s.experts);
    input.slice_weights = v;
    const expected_deltas expected(x, static_cast<std::size_t>(rows.hidden.rows), s, v);
    EXPECT_TRUE(typed_rows::same_bits(run(affinity::grouped_average_cosine{}, input), expected.cosine))
        << s.experts << " slices of " << s.hidden << (v != nullptr ? ", weighted" : "");
    EXPECT_TRUE(typed_rows::same_bits(run(affinity::grouped_average{}, input), expected.mean))
        << s.experts << " slices of " << s.hidden << (v != nullptr ? ", weighted" : "");
  }
}

template <class Row>
class HostSlices : public ::testing::Test {};
TYPED_TEST_SUITE(HostSlices, typed_rows::all, typed_rows::names);

TYPED_TEST(HostSlices, HaveTheBitsOfTheWrittenOrder) {
  support::random_source random(41);
  for (const slices& s : shapes) {
    const padded_rows<TypeParam> x(random, 3, s.hidden);
    affinity::hidden_input<TypeParam> input;
    input.hidden = x.view();
    expect_the_written_order(input, x.values, s, support::normal_values(random, s.hidden));
  }
}

TYPED_TEST(HostSlices, OfMinusZeroAreZero) {
  for (const slices& s : shapes) {
    const std::vector<float> zeros(2 * s.hidden, -0.0F);
    const std::vector<TypeParam> x = typed_rows::narrowed<TypeParam>(zeros);
    affinity::hidden_input<TypeParam> input;
    input.hidden = {x.data(), 2, static_cast<std::int64_t>(s.hidden)};
    expect_the_written_order(input, zeros, s, std::vector<float>(s.hidden, 1.0F));
  }
}

TEST(HostSlicesOfAnyRowType, HaveTheBitsOfTheWrittenOrder) {
  support::random_source random(42);
  for (const slices& s : shapes) {
    const std::vector<float> x = support::normal_values(random, 2 * s.hidden);
    std::vector<own_row> rows;
    for (const float value : x) rows.push_back({value});
    affinity::hidden_input<own_row> input;
    input.hidden = {rows.data(), 2, static_cast<std::int64_t>(s.hidden)};
    expect_the_written_order(input, x, s, support::normal_values(random, s.hidden));
  }
}

//! Memory whose last byte is followed by a page that may not be read.
class memory_before_a_wall {
 public:
  explicit memory_before_a_wall(std::size_t bytes)
      : page_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))),
        mapped_((bytes + page_ - 1) / page_ * page_ + page_),
        base_(static_cast<char*>(mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0))) {
    mprotect(base_ + mapped_ - page_, page_, PROT_NONE);
    data_ = base_ + mapped_ - page_ - bytes;
  }
  ~memory_before_a_wall() { munmap(base_, mapped_); }
  memory_before_a_wall(const memory_before_a_wall&) = delete;
  memory_before_a_wall& operator=(const memory_before_a_wall&) = delete;
  void* data() const { return data_; }

 private:
  std::size_t page_, mapped_;
  char* base_;
  void* data_;
};

TYPED_TEST(HostSlices, ReadNothingPastTheLastColumn) {
  support::random_source random(43);
  for (const slices& s : shapes) {
    const padded_rows<TypeParam> x(random, 1, s.hidden);
    const memory_before_a_wall row(s.hidden * sizeof(TypeParam)), weights(s.hidden * sizeof(float));
    auto* const columns = static_cast<TypeParam*>(row.data());
    auto* const v = static_cast<float*>(weights.data());
    for (std::size_t j = 0; j < s.hidden; ++j) columns[j] = x.stored[j], v[j] = 1.0F;
    affinity::hidden_input<TypeParam> input;
    input.hidden = {columns, 1, static_cast<std::int64_t>(s.hidden)};
    input.experts = static_cast<std::int32_t>(s.experts);
    const std::vector<float> sums = run(affinity::grouped_average{}, input);
    input.slice_weights = v;
    EXPECT_TRUE(typed_rows::same_bits(run(affinity::grouped_average{}, input), sums));
  }
}

}  // namespace
