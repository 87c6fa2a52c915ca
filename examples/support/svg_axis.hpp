// SPDX-License-Identifier: Apache-2.0
// What a chart's axes need before anything is drawn: a value range, round ticks, labels and the text they take.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

namespace svg {

//! The least and the greatest finite value seen so far.
struct range {
  double low = HUGE_VAL, high = -HUGE_VAL;

  void include(double value) {
    if (!std::isfinite(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }

  //! Never of zero width, so that it can be divided by.
  range drawable() const {
    if (empty()) return {0, 1};
    if (high > low) return *this;
    const double half = low == 0 ? 0.5 : std::abs(low) / 2;
    return {low - half, high + half};
  }
};

namespace detail {

inline std::string number(double value, int decimals = 1) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  const std::string out = text;
  const bool is_negative_zero = out.find_first_not_of("-0.") == std::string::npos && out[0] == '-';
  return is_negative_zero ? out.substr(1) : out;
}

//! The step 1, 2 or 5 times a power of ten that divides the range into about `wanted` parts, at most.
inline double round_step(const range& r, int wanted) {
  const double raw = (r.high - r.low) / std::max(1, wanted);
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (raw <= factor * power * (1 + 1e-9)) return factor * power;
  return 10 * power;
}

struct tick {
  double value;
  std::string label;
};

inline std::vector<tick> ticks_of(const range& r, int wanted) {
  const double step = round_step(r, wanted);
  const bool tiny = step < 1e-6, huge = std::max(std::abs(r.low), std::abs(r.high)) >= 1e7;
  const int decimals = std::max(0, -static_cast<int>(std::floor(std::log10(step) + 1e-9)));
  std::vector<tick> out;
  const double first = std::ceil(r.low / step - 1e-9), last = std::floor(r.high / step + 1e-9);
  for (double index = first; index <= last; ++index) {
    const double value = index * step;
    char scientific[32];
    std::snprintf(scientific, sizeof scientific, "%g", value);
    out.push_back({value, tiny || huge ? scientific : number(value, decimals)});
  }
  return out;
}

//! The range widened to whole steps, so that the outermost grid lines close the plot.
inline range rounded(const range& r, int wanted) {
  const double step = round_step(r, wanted);
  return {std::floor(r.low / step + 1e-9) * step, std::ceil(r.high / step - 1e-9) * step};
}

// Without a font at hand, a generous average keeps neighbours apart in any sans-serif.
inline double text_width(const std::string& text, double font_size) {
  const auto letters = std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
  return 0.58 * font_size * static_cast<double>(letters);
}

}  // namespace detail
}  // namespace svg
