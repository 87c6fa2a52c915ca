// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "report.hpp"
#include "support/svg.hpp"

namespace demo {
namespace {

std::vector<double> as_doubles(const std::vector<std::int64_t>& counts) { return {counts.begin(), counts.end()}; }

void draw_loads(svg::panel& panel, const recording& data, const resonance_result& result) {
  std::vector<std::string> experts;
  for (std::int32_t e = 0; e < data.experts(); ++e) experts.push_back(std::to_string(e));
  panel.grouped_bars(experts, {{"chosen", as_doubles(result.tokens_per_expert)},
                               {"affinity_mass", as_doubles(result.by_mass.tokens_per_expert)},
                               {"lower_bound", as_doubles(result.by_bound.tokens_per_expert)}});
  panel.level(static_cast<double>(data.tokens() * recording::top_k) / data.experts(), "T*K/E");
}

}  // namespace

std::string write_picture(const std::string& path, const recording& data, const layer_results& results) {
  const std::string name = "layer " + std::to_string(recording::answered_layer) + " of a trained model";
  svg::figure figure(1000, 700, "Expert-token resonance: " + name + ", top-" + std::to_string(recording::top_k));
  // One scale for both metrics, so that their bars can be compared.
  double most = 0;
  for (const resonance_result& result : results)
    for (const std::int64_t load : result.tokens_per_expert) most = std::max(most, static_cast<double>(load));
  const char* titles[] = {"GrAP: load per expert before and after",
                          "Cosine to the gate: load per expert before and after"};
  double left = 10;
  for (std::size_t m = 0; m < results.size(); ++m, left += 490) {
    svg::panel& loads = figure.panel(left, 46, 480, 320, titles[m], "expert", "tokens");
    draw_loads(loads.y_from(most), data, results[m]);
  }

  std::vector<svg::series> affinities;
  std::vector<svg::curve> curves;
  for (std::size_t m = 0; m < results.size(); ++m) {
    affinities.push_back({name_of(metrics[m]), {results[m].affinity.begin(), results[m].affinity.end()}});
    std::vector<double> kept = results[m].mass_shares;
    for (double& share : kept) share *= 100;
    curves.push_back({name_of(metrics[m]), results[m].capacity_shares, kept, true, false});
  }
  figure.panel(10, 374, 480, 316, "Affinity of all (token, expert) pairs", "affinity", "share of pairs")
      .histogram(affinities, 60);
  figure
      .panel(500, 374, 480, 316, "Kept affinity mass against capacity", "capacity of an expert, as a share of T*K/E",
             "kept mass in %")
      .lines(curves)
      .x_from(0)
      .y_from(0)
      .level(100 * mass_rho, "affinity_mass keeps this much per expert");
  return figure.write(path);
}

}  // namespace demo
