// SPDX-License-Identifier: Apache-2.0
// Small SVG charts for reports: a figure with a title holds panels. The background is painted white, so that a chart
// reads on dark pages too.
#pragma once

#include <cstdio>
#include <deque>
#include <string>
#include <utility>

#include "svg_panel.hpp"

namespace svg {

class figure {
 public:
  figure(double width, double height, std::string title) : width_(width), height_(height), title_(std::move(title)) {}

  //! A panel with its upper left corner at (x, y), labels and legend included; the figure's title takes the top 40.
  //! The reference stays valid for the figure's life.
  svg::panel& panel(double x, double y, double width, double height, const std::string& title,
                    const std::string& x_label, const std::string& y_label) {
    return panels_.emplace_back(x, y, width, height, title, x_label, y_label);
  }

  std::string text() const {
    const std::string width = detail::number(width_, 0), height = detail::number(height_, 0);
    std::string out = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + width + "\" height=\"" + height +
                      "\" viewBox=\"0 0 " + width + " " + height + "\" role=\"img\">\n";
    out += "<title>" + detail::escaped(title_) + "</title>\n";
    out +=
        "<style>\n"
        "text { font-family: Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif; fill: #222; }\n"
        ".figure { font-size: 18px; font-weight: 600; }\n"
        ".panel { font-size: 14px; font-weight: 600; }\n"
        ".legend, .label { font-size: 12px; }\n"
        ".tick { font-size: 11px; fill: #555; }\n"
        "</style>\n";
    out += detail::rectangle(0, 0, width_, height_, "#ffffff");
    out += detail::write_text(16, 28, title_, "class=\"figure\"");
    for (const svg::panel& p : panels_) out += p.text();
    return out + "</svg>\n";
  }

  //! Returns "" or one line that names the file and the fault.
  std::string write(const std::string& path) const {
    std::FILE* file = std::fopen(path.c_str(), "wb");
    if (!file) return path + ": cannot be opened for writing";
    const std::string content = text();
    const bool written = std::fwrite(content.data(), 1, content.size(), file) == content.size();
    // fclose flushes, and a full disk may show only there.
    return std::fclose(file) == 0 && written ? "" : path + ": cannot be written to its end";
  }

 private:
  double width_, height_;
  std::string title_;
  std::deque<svg::panel> panels_;
};

}  // namespace svg
