// SPDX-License-Identifier: Apache-2.0
// What host_affinity refuses: a status that names the argument, and nothing written.
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <resonance/affinity/host_affinity.hpp>

#include "support/executors.hpp"
#include "support/poison.hpp"

namespace {

namespace affinity = resonance::affinity;
using resonance::matrix_view;
using resonance::status;
using resonance::status_code;

class HostAffinityErrors : public ::testing::Test {
 protected:
  HostAffinityErrors() : x(7 * 12, 1.0F), w(6 * 12, 1.0F), norms(7, 1.0F), out(7 * 6), workspace(4096) {
    hidden.hidden = {x.data(), 7, 12};
    hidden.gate = {w.data(), 6, 12};
    hidden.experts = 6;
    logits.logits = {x.data(), 7, 6};
    logits.token_norms = norms.data();
    logits.gate_norms = norms.data();
  }

  template <class Metric, class Input>
  void expect(status_code code, const char* argument, const Metric& metric, const Input& input,
              matrix_view<float> affinity, std::size_t bytes = 4096) {
    const status result =
        affinity::host_affinity(support::serial(), metric, input, affinity, {workspace.data(), bytes});
    EXPECT_EQ(result.code, code) << argument << ": " << result.argument << ' ' << result.message();
    EXPECT_EQ(std::string(result.argument), argument);
    EXPECT_TRUE(out.untouched() && workspace.untouched()) << argument;
  }

  std::vector<float> x, w, norms;
  support::guarded_buffer<float> out;
  support::guarded_buffer<char> workspace;
  affinity::hidden_input<float> hidden;
  affinity::logits_input<float> logits;
};

TEST_F(HostAffinityErrors, NameTheArgumentAndWriteNothing) {
  const affinity::dot dot;
  const affinity::cosine cosine;
  const affinity::grouped_average_cosine grap;
  const matrix_view<float> good(out.data(), 7, 6);
  auto bad = hidden;
  bad.hidden.data = nullptr;
  expect(status_code::null_pointer, "hidden", dot, bad, good);
  expect(status_code::null_pointer, "hidden", grap, bad, good);
  bad = hidden;
  bad.hidden.rows = -1;
  expect(status_code::out_of_range, "hidden", dot, bad, good);
  bad = hidden;
  bad.hidden.stride = 11;
  expect(status_code::out_of_range, "hidden", dot, bad, good);
  bad = hidden;
  bad.hidden.rows = std::int64_t{1} << 31;
  expect(status_code::index_overflow, "hidden", dot, bad, good);
  bad = hidden;
  bad.hidden.stride = INT64_MAX / 2;
  expect(status_code::index_overflow, "hidden", dot, bad, good);
  bad = hidden;
  bad.gate.data = nullptr;
  expect(status_code::null_pointer, "gate", cosine, bad, good);
  bad = hidden;
  bad.gate.rows = 0;
  expect(status_code::out_of_range, "gate", dot, bad, good);
  bad = hidden;
  bad.gate.rows = std::int64_t{1} << 31;
  expect(status_code::index_overflow, "gate", dot, bad, good);
  bad = hidden;
  bad.gate.cols = 11;
  expect(status_code::shape_mismatch, "gate", dot, bad, good);
  bad = hidden;
  for (std::int32_t experts : {0, -1, 13}) {
    bad.experts = experts;
    expect(status_code::out_of_range, "experts", grap, bad, good);
  }
  expect(status_code::null_pointer, "affinity", dot, hidden, {nullptr, 7, 6});
  expect(status_code::shape_mismatch, "affinity", dot, hidden, {out.data(), 6, 6});
  expect(status_code::shape_mismatch, "affinity", dot, hidden, {out.data(), 7, 5});
  expect(status_code::out_of_range, "affinity", dot, hidden, {out.data(), 7, 6, 5});
  const std::size_t needed = affinity::host_affinity_workspace_bytes(support::serial(), dot, hidden);
  expect(status_code::workspace_too_small, "workspace", dot, hidden, good, needed - 1);
}

TEST_F(HostAffinityErrors, NameTheArgumentAmongLogitsToo) {
  const matrix_view<float> good(out.data(), 7, 6);
  auto bad = logits;
  bad.logits.data = nullptr;
  expect(status_code::null_pointer, "logits", affinity::logits{}, bad, good);
  bad = logits;
  bad.logits.cols = 0;
  expect(status_code::out_of_range, "logits", affinity::logits{}, bad, good);
  bad = logits;
  bad.logits.rows = std::int64_t{1} << 31;
  expect(status_code::index_overflow, "logits", affinity::logits{}, bad, good);
  bad = logits;
  bad.token_norms = nullptr;
  expect(status_code::null_pointer, "token_norms", affinity::cosine_of_logits{}, bad, good);
  bad = logits;
  bad.gate_norms = nullptr;
  expect(status_code::null_pointer, "gate_norms", affinity::cosine_of_logits{}, bad, good);
  expect(status_code::shape_mismatch, "affinity", affinity::logits{}, logits, {out.data(), 7, 5});
}

TEST_F(HostAffinityErrors, TheQueryAnswersZeroForABadInput) {
  hidden.experts = 0;
  EXPECT_EQ(affinity::host_affinity_workspace_bytes(support::serial(), affinity::grouped_average{}, hidden), 0U);
}

}  // namespace
