// SPDX-License-Identifier: Apache-2.0
// One panel of an SVG chart: bars, curves or histograms over common axes, with title, legend, grid and round ticks.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "svg_axis.hpp"
#include "svg_draw.hpp"

namespace svg {

struct series {
  std::string name;
  std::vector<double> values;
};

struct curve {
  std::string name;
  std::vector<double> x, y;
  bool markers = false;
  bool filled = false;
};

class panel {
 public:
  panel(double x, double y, double width, double height, std::string title, std::string x_label, std::string y_label)
      : x_(x),
        y_(y),
        width_(width),
        height_(height),
        title_(std::move(title)),
        x_label_(std::move(x_label)),
        y_label_(std::move(y_label)) {}

  //! One group of bars per category, one bar per series in each group.
  panel& grouped_bars(std::vector<std::string> categories, std::vector<series> bars) {
    categories_ = std::move(categories);
    bars_ = std::move(bars);
    y_range_.include(0);
    for (const series& s : bars_)
      for (const double value : s.values) y_range_.include(value);
    x_range_.include(-0.5);
    x_range_.include(static_cast<double>(categories_.size()) - 0.5);
    return *this;
  }

  //! Straight lines through (x, y) in the order given; points that are not finite are left out.
  panel& lines(const std::vector<curve>& curves) {
    for (const curve& c : curves) {
      curve kept{c.name, {}, {}, c.markers, c.filled};
      for (std::size_t i = 0; i < std::min(c.x.size(), c.y.size()); ++i) {
        if (!std::isfinite(c.x[i]) || !std::isfinite(c.y[i])) continue;
        kept.x.push_back(c.x[i]);
        kept.y.push_back(c.y[i]);
        x_range_.include(c.x[i]);
        y_range_.include(c.y[i]);
      }
      curves_.push_back(std::move(kept));
    }
    return *this;
  }

  //! The share of each series' finite values per bin, over bins common to all series.
  panel& histogram(const std::vector<series>& samples, int bins) {
    range seen;
    for (const series& s : samples)
      for (const double value : s.values) seen.include(value);
    const range all = seen.drawable();
    const double bin_width = (all.high - all.low) / bins;
    std::vector<curve> outlines;
    for (const series& s : samples) {
      std::vector<double> counts(static_cast<std::size_t>(bins), 0.0);
      double total = 0;
      for (const double value : s.values) {
        if (!std::isfinite(value)) continue;
        const auto bin = static_cast<std::size_t>((value - all.low) / bin_width);
        counts[std::min(bin, counts.size() - 1)] += 1;
        total += 1;
      }
      curve outline{s.name, {all.low}, {0}, false, true};
      for (std::size_t b = 0; b < counts.size(); ++b) {
        for (const std::size_t edge : {b, b + 1}) {
          outline.x.push_back(all.low + bin_width * static_cast<double>(edge));
          outline.y.push_back(total > 0 ? counts[b] / total : 0);
        }
      }
      outline.x.push_back(all.high);
      outline.y.push_back(0);
      outlines.push_back(std::move(outline));
    }
    return lines(outlines);
  }

  //! A dashed horizontal line, named in the legend.
  panel& level(double value, std::string name) {
    y_range_.include(value);
    levels_.push_back({std::move(name), {value}});
    return *this;
  }

  //! The palette's place of the first series, so that one thing keeps one colour across panels.
  panel& colours_from(std::size_t first) { return first_colour_ = first, *this; }

  //! Extends the axes to hold these values too: y_from(0) starts a curve's axis at zero.
  panel& x_from(double value) { return x_range_.include(value), *this; }
  panel& y_from(double value) { return y_range_.include(value), *this; }

  std::string text() const {
    const std::vector<entry> legend = placed_legend();
    const double top_margin = 30 + (legend.empty() ? 0 : legend.back().y + 22);
    plot p;
    p.y = detail::rounded(y_range_.drawable(), 5);
    p.x = x_range_.drawable();
    if (bars_.empty()) {
      const double slack = 0.02 * (p.x.high - p.x.low);
      p.x = {p.x.low - slack, p.x.high + slack};
    }
    const auto y_ticks = detail::ticks_of(p.y, 5);
    double widest = 0;
    for (const auto& tick : y_ticks) widest = std::max(widest, detail::text_width(tick.label, tick_font));
    p.left = x_ + widest + 34;
    p.right = x_ + width_ - 12;
    p.top = y_ + top_margin;
    p.bottom = y_ + height_ - 44;

    using detail::line;
    using detail::write_text;
    std::string out = write_text(x_ + 4, y_ + 16, title_, "class=\"panel\"");
    for (const entry& e : legend) out += legend_entry(e);
    for (const auto& tick : y_ticks) {
      out += line(p.left, p.at_y(tick.value), p.right, p.at_y(tick.value), "stroke=\"#e3e3e3\"");
      out += write_text(p.left - 6, p.at_y(tick.value) + 4, tick.label, "class=\"tick\" text-anchor=\"end\"");
    }
    out += bars_.empty() ? x_ticks(p) : category_ticks(p);
    out += write_bars(p);
    for (std::size_t i = 0; i < curves_.size(); ++i) out += write_curve(p, curves_[i], colour(bars_.size() + i));
    for (std::size_t i = 0; i < levels_.size(); ++i) {
      const double at = p.at_y(levels_[i].values[0]);
      out += line(p.left, at, p.right, at, level_style);
    }
    const double axis = p.at_y(std::min(std::max(0.0, p.y.low), p.y.high));
    out += line(p.left, axis, p.right, axis, "stroke=\"#444\"");
    out += write_text((p.left + p.right) / 2, p.bottom + 36, x_label_, "class=\"label\" text-anchor=\"middle\"");
    const std::string at = detail::number(x_ + 16) + " " + detail::number((p.top + p.bottom) / 2);
    out += "<text class=\"label\" text-anchor=\"middle\" transform=\"translate(" + at + ") rotate(-90)\">" +
           detail::escaped(y_label_) + "</text>\n";
    return out;
  }

 private:
  static constexpr double tick_font = 11, legend_font = 12;
  static constexpr const char* level_style = "stroke=\"#444\" stroke-width=\"1.3\" stroke-dasharray=\"6 4\"";

  struct plot {
    double left = 0, right = 0, top = 0, bottom = 0;
    range x, y;
    double at_x(double value) const { return left + (value - x.low) / (x.high - x.low) * (right - left); }
    double at_y(double value) const { return bottom - (value - y.low) / (y.high - y.low) * (bottom - top); }
  };
  struct entry {
    std::string name;
    std::string colour;  // empty for a level
    double x, y;         // from the legend's corner
  };

  const char* colour(std::size_t index) const {
    // Okabe and Ito's palette, safe for colour-blind readers.
    static constexpr const char* palette[] = {"#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9"};
    return palette[(first_colour_ + index) % std::size(palette)];
  }
  // The legend runs above the plot, where no data can lie under it, and breaks into rows.
  std::vector<entry> placed_legend() const {
    std::vector<entry> out;
    for (const series& s : bars_) out.push_back({s.name, colour(out.size()), 0, 0});
    for (const curve& c : curves_) out.push_back({c.name, colour(out.size()), 0, 0});
    for (const series& s : levels_) out.push_back({s.name, "", 0, 0});
    out.erase(std::remove_if(out.begin(), out.end(), [](const entry& e) { return e.name.empty(); }), out.end());
    double x = 0, y = 0;
    for (entry& e : out) {
      const double width = 24 + detail::text_width(e.name, legend_font) + 14;
      if (x > 0 && x + width > width_ - 8) {
        x = 0;
        y += 18;
      }
      e.x = x;
      e.y = y;
      x += width;
    }
    return out;
  }
  std::string legend_entry(const entry& e) const {
    const double x = x_ + 4 + e.x, y = y_ + 38 + e.y;
    const bool is_level = e.colour.empty();
    return (is_level ? detail::line(x, y - 4, x + 18, y - 4, level_style)
                     : detail::rectangle(x, y - 9, 18, 10, e.colour)) +
           detail::write_text(x + 24, y, e.name, "class=\"legend\"");
  }

  static std::string tick_text(const plot& p, double value, const std::string& label) {
    return detail::write_text(p.at_x(value), p.bottom + 16, label, "class=\"tick\" text-anchor=\"middle\"");
  }
  std::string x_ticks(const plot& p) const {
    std::string out;
    for (const auto& tick : detail::ticks_of(p.x, std::max(2, static_cast<int>((p.right - p.left) / 70)))) {
      out += detail::line(p.at_x(tick.value), p.top, p.at_x(tick.value), p.bottom, "stroke=\"#f0f0f0\"");
      out += tick_text(p, tick.value, tick.label);
    }
    return out;
  }
  std::string category_ticks(const plot& p) const {
    double widest = 0;
    for (const std::string& name : categories_) widest = std::max(widest, detail::text_width(name, tick_font) + 4);
    const double room = (p.right - p.left) / std::max(1.0, static_cast<double>(categories_.size()));
    const auto every = static_cast<std::size_t>(std::max(1.0, std::ceil(widest / room)));
    std::string out;
    for (std::size_t i = 0; i < categories_.size(); i += every)
      out += tick_text(p, static_cast<double>(i), categories_[i]);
    return out;
  }
  std::string write_bars(const plot& p) const {
    std::string out;
    const double bar = 0.8 / std::max(1.0, static_cast<double>(bars_.size()));
    for (std::size_t s = 0; s < bars_.size(); ++s) {
      for (std::size_t i = 0; i < std::min(categories_.size(), bars_[s].values.size()); ++i) {
        const double value = bars_[s].values[i];
        if (!std::isfinite(value)) continue;
        const double left = p.at_x(static_cast<double>(i) - 0.4 + bar * static_cast<double>(s));
        const double end = p.at_y(value), base = p.at_y(0);
        const double width = p.at_x(bar) - p.at_x(0);
        out += detail::rectangle(left, std::min(end, base), width * 0.94, std::abs(end - base), colour(s));
      }
    }
    return out;
  }
  static std::string write_curve(const plot& p, const curve& c, const std::string& colour) {
    using detail::number;
    std::string points, dots;
    for (std::size_t i = 0; i < c.x.size(); ++i) {
      const std::string x = number(p.at_x(c.x[i])), y = number(p.at_y(c.y[i]));
      points += (i ? " " : "") + x + "," + y;
      if (c.markers)
        dots += "<circle cx=\"" + x + "\" cy=\"" + y + "\" r=\"3.5\" fill=\"" + colour +
                "\" stroke=\"#fff\" stroke-width=\"1\"/>\n";
    }
    const std::string fill = c.filled ? colour + "\" fill-opacity=\"0.18" : std::string("none");
    return "<polyline points=\"" + points + "\" fill=\"" + fill + "\" stroke=\"" + colour +
           "\" stroke-width=\"1.8\" stroke-linejoin=\"round\"/>\n" + dots;
  }

  double x_, y_, width_, height_;
  std::string title_, x_label_, y_label_;
  std::vector<std::string> categories_;
  std::vector<series> bars_, levels_;
  std::vector<curve> curves_;
  range x_range_, y_range_;
  std::size_t first_colour_ = 0;
};

}  // namespace svg
