// SPDX-License-Identifier: Apache-2.0
//! \file
//! The table "bytes moved / fewest bytes": what the executor counted for a stage beside the least that any
//! implementation has to move.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <simt/control.hpp>
#include <string>
#include <support/assignments.hpp>
#include <vector>

namespace traffic {

//! How much more than the fewest bytes a stage may move without saying why.
inline constexpr double most_times_the_floor = 1.1;

struct allowance {
  double times_the_floor = most_times_the_floor;
  //! Where it is more: a paragraph of ARCHITECTURE.md, "Traffic", that begins with this in bold.
  std::string reason;
};

//! All rows, printed and written to the file traffic.txt when the program ends.
class table : public ::testing::Environment {
 public:
  static std::string& text() {
    static std::string all;
    return all;
  }
  void TearDown() override {
    char head[200];
    std::snprintf(head, sizeof head, "%-26s %-28s %8s %10s %10s %10s %7s %8s  %s\n", "stage", "shape", "launches",
                  "loaded", "stored", "fewest", "moved/", "sectors/", "reason");
    const std::string page = head + text();
    std::fputs(page.c_str(), stdout);
    std::ofstream("traffic.txt") << page;
  }
};
inline ::testing::Environment* const table_installed = ::testing::AddGlobalTestEnvironment(new table);

inline const std::string& architecture() {
  static const std::string page = [] {
    std::ifstream file(RESONANCE_ARCHITECTURE_PAGE);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }();
  return page;
}

//! Runs a stage once, counting, and holds it to its allowance.
template <class Stage>
void measure(const std::string& stage, const std::string& shape, std::int64_t fewest_bytes, std::size_t most_launches,
             const allowance& allowed, const Stage& run) {
  SCOPED_TRACE(stage + ", " + shape);
  simt::config().count_traffic = true;
  simt::reset_traffic();
  EXPECT_TRUE(support::accepted(run()));
  simt::config().count_traffic = false;
  const simt::access_counts loads = simt::traffic().loads();
  const simt::access_counts stores = simt::traffic().stores();
  const std::size_t launches = simt::traffic().launches.size();
  const double floor = static_cast<double>(fewest_bytes);
  const double moved = static_cast<double>(loads.bytes + stores.bytes) / floor;
  const double sectors = 32.0 * static_cast<double>(loads.sectors + stores.sectors) / floor;
  char line[400];
  std::snprintf(line, sizeof line, "%-26s %-28s %8zu %10llu %10llu %10lld %7.3f %8.3f  %s\n", stage.c_str(),
                shape.c_str(), launches, static_cast<unsigned long long>(loads.bytes),
                static_cast<unsigned long long>(stores.bytes), static_cast<long long>(fewest_bytes), moved, sectors,
                allowed.reason.c_str());
  table::text() += line;

  EXPECT_GE(moved, 0.999) << "less than the least: something isn't counted";
  EXPECT_LE(moved, allowed.times_the_floor);
  EXPECT_LE(launches, most_launches);
  if (allowed.times_the_floor > most_times_the_floor) {
    const std::size_t section = architecture().find("\n## Traffic\n");
    ASSERT_NE(section, std::string::npos) << "ARCHITECTURE.md has no section Traffic";
    const std::size_t end = architecture().find("\n## ", section + 4);
    const std::string text = architecture().substr(section, end - section);
    EXPECT_NE(text.find("**" + allowed.reason + "**"), std::string::npos) << "not in ARCHITECTURE.md, Traffic";
  }
}

inline std::string shape_of(const support::batch_shape& s, const std::string& more = "") {
  return "T=" + std::to_string(s.tokens) + " E=" + std::to_string(s.experts) + " K=" + std::to_string(s.top_k) + more;
}

//! Distinct experts for every token, all of its slots assigned.
struct full_choices {
  support::batch_shape shape;
  support::guarded_buffer<std::int32_t> ids;
  support::guarded_buffer<float> weights, affinity;

  full_choices(support::random_source& random, const support::batch_shape& s)
      : shape(s), ids(slots(s)), weights(slots(s)), affinity(slots(s)) {
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      const auto first = static_cast<std::int64_t>(random.below(static_cast<std::size_t>(s.experts)));
      for (std::int64_t k = 0; k < s.top_k; ++k) {
        const auto slot = static_cast<std::size_t>(t * s.top_k + k);
        ids[slot] = static_cast<std::int32_t>((first + k) % s.experts);
        weights[slot] = static_cast<float>(random.uniform());
        affinity[slot] = static_cast<float>(random.normal());
      }
    }
  }
  static std::size_t slots(const support::batch_shape& s) { return static_cast<std::size_t>(s.tokens * s.top_k); }

  resonance::assignment_view view() const {
    resonance::assignment_view v;
    v.tokens = shape.tokens;
    v.experts = shape.experts;
    v.slots_per_token = shape.top_k;
    v.ids = ids.data();
    v.weights = weights.data();
    v.affinity = affinity.data();
    return v;
  }
};

//! `count` normal values in device memory.
template <class Row>
support::guarded_buffer<Row> normal_rows(support::random_source& random, std::int64_t count) {
  support::guarded_buffer<Row> rows(static_cast<std::size_t>(count));
  for (Row& value : rows) value = resonance::row_traits<Row>::narrow(static_cast<float>(random.normal()));
  return rows;
}

}  // namespace traffic
