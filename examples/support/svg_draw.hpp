// SPDX-License-Identifier: Apache-2.0
// The SVG elements that a chart is drawn with.
#pragma once

#include <string>

#include "svg_axis.hpp"

namespace svg::detail {

inline std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else
      out += c;
  }
  return out;
}

inline std::string line(double x1, double y1, double x2, double y2, const std::string& style) {
  return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) + "\" y2=\"" + number(y2) +
         "\" " + style + "/>\n";
}

inline std::string rectangle(double x, double y, double width, double height, const std::string& fill) {
  return "<rect x=\"" + number(x, 2) + "\" y=\"" + number(y, 2) + "\" width=\"" + number(width, 2) + "\" height=\"" +
         number(height, 2) + "\" fill=\"" + fill + "\"/>\n";
}

inline std::string write_text(double x, double y, const std::string& text, const std::string& style) {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" " + style + ">" + escaped(text) + "</text>\n";
}

}  // namespace svg::detail
