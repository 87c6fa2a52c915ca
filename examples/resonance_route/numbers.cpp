// SPDX-License-Identifier: Apache-2.0
#include "resonance_route/numbers.hpp"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <sstream>

#include "resonance_route/options.hpp"

namespace route_cli {
namespace {

[[noreturn]] void refuse(const std::string& name, const std::string& wanted, const std::string& text) {
  throw failure(name + ": want " + wanted + ", got '" + text + "'");
}

std::string text_of(const interval& range) {
  std::ostringstream out;
  if (range.least < 0.0) return "a finite number";
  if (range.most < 1.0e9) {
    out << "a number in " << (range.open_below ? '(' : '[') << range.least << ", " << range.most << ']';
  } else {
    out << "a finite number " << (range.open_below ? "> " : ">= ") << range.least;
  }
  return out.str();
}

}  // namespace

std::int64_t whole_number(const std::string& name, const std::string& text, std::int64_t least, std::int64_t most) {
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc{} || stop != end || value < least || value > most) {
    const std::string upper = most < std::numeric_limits<std::int64_t>::max() ? " and <= " + std::to_string(most) : "";
    refuse(name, "a whole number >= " + std::to_string(least) + upper, text);
  }
  return value;
}

double real_number(const std::string& name, const std::string& text, const interval& range) {
  char* stop = nullptr;
  const double value = std::strtod(text.c_str(), &stop);
  const bool read = !text.empty() && stop == text.c_str() + text.size() && std::isfinite(value);
  const bool above = range.open_below ? value > range.least : value >= range.least;
  if (!read || !above || value > range.most) refuse(name, text_of(range), text);
  return value;
}

float real_float(const std::string& name, const std::string& text, const interval& range) {
  const double value = real_number(name, text, range);
  const float narrowed = static_cast<float>(value);
  if (!std::isfinite(narrowed) || (range.open_below && !(static_cast<double>(narrowed) > range.least)))
    refuse(name, text_of(range) + " that float32 can hold", text);
  return narrowed;
}

std::vector<std::int32_t> rank_list(const std::string& name, const std::string& text) {
  std::vector<std::int32_t> ranks;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::int64_t rank = whole_number(name, text.substr(begin, end - begin), 0, largest_int32);
    if (!ranks.empty() && rank <= ranks.back()) refuse(name, "rising ranks such as 0,2", text);
    ranks.push_back(static_cast<std::int32_t>(rank));
    begin = end + 1;
  }
  return ranks;
}

}  // namespace route_cli
