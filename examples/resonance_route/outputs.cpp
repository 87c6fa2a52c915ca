// SPDX-License-Identifier: Apache-2.0
#include "resonance_route/outputs.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <numeric>
#include <sstream>

namespace route_cli {
namespace {

using json = nlohmann::ordered_json;

template <class T>
T total(const std::vector<T>& values) {
  return std::accumulate(values.begin(), values.end(), T{});
}

struct load_figures {
  std::int64_t assigned, kept;
  double cut_share, max_over_mean, kept_mass;
};

load_figures figures_of(const routing& r) {
  load_figures f{};
  f.kept = total(r.kept);
  f.assigned = f.kept + total(r.dropped);
  f.cut_share = f.assigned > 0 ? 1.0 - static_cast<double>(f.kept) / static_cast<double>(f.assigned) : 0.0;
  f.max_over_mean = resonance::balance::max_over_mean_load(r.experts, r.kept.data());
  const double mass = total(r.assigned_mass);
  f.kept_mass = mass > 0.0 ? total(r.kept_mass) / mass : 1.0;
  return f;
}

// A number where every expert has the same by the rule's nature, else a list.
json capacity_of(const options& o, const routing& r) {
  const bool by_expert = std::holds_alternative<resonance::prune::affinity_mass>(o.capacity) ||
                         std::holds_alternative<resonance::prune::per_expert>(o.capacity);
  if (by_expert && !o.prune.shared) return r.capacities;
  if (std::holds_alternative<resonance::prune::unlimited>(o.capacity))
    return o.prune.capacity_cap >= 0 ? std::min(r.tokens, o.prune.capacity_cap) : r.tokens;
  return r.capacities.front();
}

json balance_of(const options& o, const routing& r) {
  json out;
  out["load_balance_loss"] = r.balance.load_balance_loss;
  out["z_loss"] = r.balance.z_loss;
  if (!o.expert_map.empty()) out["locality_loss"] = r.balance.locality_loss;
  if (o.reads_hidden()) out["calinski_harabasz"] = r.balance.calinski_harabasz;
  out["mean_probability"] = r.balance.mean_probability;
  return out;
}

}  // namespace

std::vector<std::string> stage_arrays(output_files& files, const std::filesystem::path& directory, const options& o,
                                      const routing& r) {
  std::vector<std::string> names;
  const auto add = [&](const std::string& name, const std::vector<std::size_t>& shape, const auto& values) {
    names.push_back(name + ".npy");
    files.array(directory / names.back(), shape, values);
  };
  const auto tokens = static_cast<std::size_t>(r.tokens);
  const auto top_k = static_cast<std::size_t>(o.choice.top_k);
  files.directory(directory);
  add("topk_ids", {tokens, top_k}, r.topk_ids);
  add("topk_weights", {tokens, top_k}, r.topk_weights);
  std::vector<std::size_t> slots = {tokens, top_k};
  if (r.ragged) {
    const std::size_t count = r.compact.ids.size();
    std::vector<std::int32_t> rows;
    rows.reserve(3 * count);
    for (std::size_t i = 0; i < count; ++i)
      rows.insert(rows.end(), {r.compact.token_of_slot[i], r.compact.ids[i], r.compact.rank_in_expert[i]});
    add("assignments", {count, 3}, rows);
    slots = {count};
  } else {
    add("kept_ids", slots, r.kept_ids);
  }
  add("kept_weights", slots, r.ragged ? r.compact.weights : r.kept_weights);
  add("tokens_per_expert", {r.tokens_per_expert.size()}, r.tokens_per_expert);
  add("expert_offsets", {r.expert_offsets.size()}, r.expert_offsets);
  add("sorted_token_ids", {r.sorted_token_ids.size()}, r.sorted_token_ids);
  add("inverse", slots, r.inverse);
  add("expert_ids", {r.expert_ids.size()}, r.expert_ids);
  if (o.write_scores) add("scores", {tokens, static_cast<std::size_t>(r.experts)}, r.affinity);
  return names;
}

std::string summary_json(const options& o, const routing& r, const std::vector<std::string>& files) {
  const load_figures f = figures_of(r);
  json out;
  out["tokens"] = r.tokens;
  out["experts"] = r.experts;
  out["top_k"] = o.choice.top_k;
  out["assigned"] = f.assigned;
  out["kept"] = f.kept;
  out["cut_share"] = f.cut_share;
  out["max_over_mean_load"] = f.max_over_mean;
  out["kept_mass"] = f.kept_mass;
  out["delta_max"] = std::isfinite(r.delta_max) ? json(r.delta_max) : json();
  out["capacity"] = capacity_of(o, r);
  out["rows"] = r.expert_offsets.back();
  for (const auto& [stage, seconds] : r.seconds) out["seconds"][stage] = seconds;
  if (o.balance) out["balance"] = balance_of(o, r);
  if (!files.empty()) out["files"] = files;
  return out.dump(2) + "\n";
}

std::string summary_line(const routing& r) {
  const load_figures f = figures_of(r);
  std::ostringstream out;
  out.precision(3);
  out << r.tokens << " tokens, " << r.experts << " experts: " << f.assigned << " assignments, " << f.kept << " kept ("
      << 100.0 * f.cut_share << "% cut), max/mean load " << f.max_over_mean << ", kept mass " << f.kept_mass << '\n';
  return out.str();
}

}  // namespace route_cli
