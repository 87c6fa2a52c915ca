// SPDX-License-Identifier: Apache-2.0
// Numbers from the command line, with one message for every way to get them wrong.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace route_cli {

inline constexpr std::int64_t largest_int32 = std::numeric_limits<std::int32_t>::max();

//! A range of reals; bounds are included unless `open_below`.
struct interval {
  double least;
  double most;
  bool open_below = false;
};

// Wider than any use, yet safe to square in double.
inline constexpr interval not_negative{0.0, 1.0e18};
inline constexpr interval positive{0.0, 1.0e18, true};
inline constexpr interval share{0.0, 1.0, true};
inline constexpr interval any_float{-3.402823466e+38, 3.402823466e+38};
inline constexpr interval positive_float{0.0, 3.402823466e+38, true};
inline constexpr interval not_negative_float{0.0, 3.402823466e+38};

//! `name` is the option, for the message. Each throws failure.
std::int64_t whole_number(const std::string& name, const std::string& text, std::int64_t least,
                          std::int64_t most = std::numeric_limits<std::int64_t>::max());
double real_number(const std::string& name, const std::string& text, const interval& range);
float real_float(const std::string& name, const std::string& text, const interval& range);

//! "0,2,3": strictly rising and not negative.
std::vector<std::int32_t> rank_list(const std::string& name, const std::string& text);

}  // namespace route_cli
