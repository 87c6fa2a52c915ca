// SPDX-License-Identifier: Apache-2.0
#include "resonance_route/inputs.hpp"

#include <algorithm>
#include <cstring>

#include "resonance_route/numbers.hpp"
#include "support/npy.hpp"

namespace route_cli {
namespace {

const npy::expect real_matrix{2, {npy::dtype::float32, npy::dtype::float16}};
const npy::expect real_vector{1, {npy::dtype::float32, npy::dtype::float16}};
const npy::expect int_vector{1, {npy::dtype::int32}};

const char* const one_per_expert = "one per expert";

// A file and the option that named it.
class source {
 public:
  source(const char* option, const std::string& path) : option_(option), path_(path) {}

  npy::array load(const npy::expect& wanted) const {
    npy::result<npy::array> loaded = npy::load(path_, wanted);
    if (!loaded) throw failure(std::string(option_) + " " + loaded.error);
    return std::move(loaded.value);
  }

  [[noreturn]] void refuse(const std::string& fault) const {
    throw failure(std::string(option_) + " " + path_ + ": " + fault);
  }

  //! One extent against what the other arguments say.
  void require(std::int64_t found, std::int64_t wanted, const std::string& what, const std::string& why) const {
    if (found == wanted) return;
    refuse("has " + std::to_string(found) + " " + what + ", want " + std::to_string(wanted) + " (" + why + ")");
  }

 private:
  const char* option_;
  const std::string& path_;
};

template <class T>
std::vector<T> values_of(const npy::array& a) {
  std::vector<T> out(a.head.payload_bytes / sizeof(T));
  if (!out.empty()) std::memcpy(out.data(), a.file.data() + a.head.payload_offset, a.head.payload_bytes);
  return out;
}

matrix read_matrix(const source& from) {
  const npy::array a = from.load(real_matrix);
  matrix out;
  for (const std::size_t extent : a.shape())
    if (extent > static_cast<std::size_t>(largest_int32)) from.refuse("has a dimension of 2^31 or more");
  out.rows = static_cast<std::int64_t>(a.shape()[0]);
  out.cols = static_cast<std::int64_t>(a.shape()[1]);
  if (a.type() == npy::dtype::float32) {
    out.values = values_of<float>(a);
  } else {
    out.values = values_of<resonance::float16>(a);
  }
  return out;
}

//! A vector of `wanted` reals; float16 is widened, which is exact.
std::vector<float> read_vector(const source& from, std::int64_t wanted, const std::string& why) {
  const npy::array a = from.load(real_vector);
  from.require(static_cast<std::int64_t>(a.shape()[0]), wanted, "values", why);
  if (a.type() == npy::dtype::float32) return values_of<float>(a);
  const std::vector<resonance::float16> narrow = values_of<resonance::float16>(a);
  std::vector<float> out(narrow.size());
  std::transform(narrow.begin(), narrow.end(), out.begin(),
                 [](resonance::float16 value) { return resonance::row_traits<resonance::float16>::widen(value); });
  return out;
}

std::vector<std::uint8_t> read_flags(const source& from, std::int64_t wanted, const std::string& why) {
  const npy::array a = from.load({1, {npy::dtype::uint8}});
  from.require(static_cast<std::int64_t>(a.shape()[0]), wanted, "values", why);
  return values_of<std::uint8_t>(a);
}

std::vector<std::int32_t> read_integers(const source& from, std::int64_t wanted, const std::string& why) {
  const npy::array a = from.load(int_vector);
  from.require(static_cast<std::int64_t>(a.shape()[0]), wanted, "values", why);
  return values_of<std::int32_t>(a);
}

void read_tables(const options& o, inputs& in) {
  std::int64_t experts = o.experts;
  if (o.reads_hidden()) {
    const source hidden("--hidden", o.hidden);
    in.hidden = read_matrix(hidden);
    in.tokens = in.hidden.rows;
    in.hidden_size = in.hidden.cols;
    if (o.hidden_size > 0) hidden.require(in.hidden_size, o.hidden_size, "columns", "--hidden-size");
  } else {
    const source logits("--logits", o.logits);
    in.logits = read_matrix(logits);
    in.tokens = in.logits.rows;
    in.hidden_size = o.hidden_size;
    if (in.logits.cols == 0) logits.refuse("has no columns, so there is no expert");
    if (experts > 0) logits.require(in.logits.cols, experts, "columns", "--experts");
    experts = in.logits.cols;
  }
  if (!o.gate.empty()) {
    const source gate("--gate", o.gate);
    in.gate = read_matrix(gate);
    gate.require(in.gate.cols, in.hidden_size, "columns", "as --hidden has");
    if (in.gate.rows == 0) gate.refuse("has no rows, so there is no expert");
    if (experts > 0) gate.require(in.gate.rows, experts, "rows", "--experts");
    experts = in.gate.rows;
  }
  if (experts > largest_int32) throw failure("--experts: " + std::to_string(experts) + " does not fit 32 bits");
  in.experts = static_cast<std::int32_t>(experts);
}

void read_expert_map(options& o, inputs& in) {
  const source from("--expert-map", o.expert_map);
  in.expert_map = read_integers(from, in.experts, one_per_expert);
  const std::int32_t last = *std::max_element(in.expert_map.begin(), in.expert_map.end());
  if (last < 0) from.refuse("names no local expert");
  if (last >= in.experts)
    from.refuse("has local id " + std::to_string(last) + " for " + std::to_string(in.experts) + " experts");
  o.plan.expert_map = in.expert_map.data();
  o.plan.num_local = last + 1;
}

void read_capacities(options& o, inputs& in) {
  const source from("--capacity per-expert", o.capacities);
  const std::vector<std::int32_t> values = read_integers(from, in.experts, one_per_expert);
  for (const std::int32_t value : values)
    if (value < 0) from.refuse("has the negative capacity " + std::to_string(value));
  in.capacities.assign(values.begin(), values.end());
  std::get<resonance::prune::per_expert>(o.capacity).capacities = in.capacities.data();
}

// Modalities of tokens and experts; C = ceil(F * tokens / experts), both of the expert's modality, where that is asked.
void read_modalities(options& o, inputs& in) {
  in.modalities = read_integers({"--modalities", o.modalities}, in.tokens, "one per token");
  in.expert_modalities = read_integers({"--expert-modalities", o.expert_modalities}, in.experts, one_per_expert);
  if (!o.capacity_by_modality) return;
  resonance::prune::per_expert rule;
  for (const std::int32_t modality : in.expert_modalities) {
    resonance::prune::batch_facts group;
    group.tokens = std::count(in.modalities.begin(), in.modalities.end(), modality);
    group.experts =
        static_cast<std::int32_t>(std::count(in.expert_modalities.begin(), in.expert_modalities.end(), modality));
    group.top_k = 1;
    in.capacities.push_back(std::get<resonance::prune::factor>(o.capacity).capacity(group, 0, 0));
  }
  rule.capacities = in.capacities.data();
  o.capacity = rule;
}

void read_prior(const options& o, inputs& in) {
  const source from("--prior", o.prior);
  in.prior = read_matrix(from);
  if (!std::holds_alternative<std::vector<float>>(in.prior.values)) from.refuse("is float16, want float32");
  from.require(in.prior.cols, in.experts, "columns", one_per_expert);
  in.sequences = read_integers({"--sequences", o.sequences}, in.tokens, "one per token");
}

// Experts that compute nothing have no rows.
void map_full_experts(options& o, inputs& in) {
  const std::string count = std::to_string(o.full_experts);
  if (o.full_experts > in.experts)
    throw failure("--full-experts: " + count + " exceed the " + std::to_string(in.experts) + " experts");
  for (std::int32_t e = 0; e < in.experts; ++e) in.expert_map.push_back(e < o.full_experts ? e : -1);
  o.plan.expert_map = in.expert_map.data();
  o.plan.num_local = o.full_experts;
  if (auto* rule = std::get_if<resonance::prune::heterogeneous_factor>(&o.capacity))
    rule->full_experts = o.full_experts;
}

void check_experts(const options& o, const inputs& in) {
  const std::string experts = std::to_string(in.experts) + (in.experts == 1 ? " expert" : " experts");
  const auto reads_slices = [](const auto& metric) {
    return std::decay_t<decltype(metric)>::reads == resonance::affinity::operand::slice;
  };
  if (std::visit(reads_slices, o.metric) && in.experts > in.hidden_size)
    throw failure("--experts: " + experts + " exceed the " + std::to_string(in.hidden_size) + " columns of --hidden");
  const char* counted_by = o.ranks.empty() ? "--top-k" : "--ranks";
  if (o.choice.top_k > in.experts)
    throw failure(std::string(counted_by) + ": " + std::to_string(o.choice.top_k) + " choices per token exceed the " +
                  experts);
  if (!o.ranks.empty() && o.ranks.back() >= in.experts)
    throw failure("--ranks: rank " + std::to_string(o.ranks.back()) + " does not exist among " + experts);
  const auto* grouped = std::get_if<resonance::token_choice::grouped_top_k>(&o.selection);
  if (grouped != nullptr && in.experts % grouped->n_group != 0)
    throw failure("--groups: " + std::to_string(grouped->n_group) + " does not divide " + experts);
  if (std::holds_alternative<resonance::prune::lower_bound>(o.capacity) && in.hidden_size == 0)
    throw failure("--capacity bound: needs hidden states of at least one column");
}

}  // namespace

inputs read_inputs(options& o) {
  inputs in;
  read_tables(o, in);
  if (o.every_expert) o.choice.top_k = in.experts;
  check_experts(o, in);
  if (!o.token_norms.empty())
    in.token_norms = read_vector({"--token-norms", o.token_norms}, in.tokens, "one per token");
  if (!o.gate_norms.empty()) in.gate_norms = read_vector({"--gate-norms", o.gate_norms}, in.experts, one_per_expert);
  if (!o.slice_weights.empty())
    in.slice_weights = read_vector({"--slice-weights", o.slice_weights}, in.hidden_size, "one per column of --hidden");
  if (!o.bias.empty()) {
    in.bias = read_vector({"--bias", o.bias}, in.experts, one_per_expert);
    o.choice.correction_bias = in.bias.data();
  }
  if (!o.expert_map.empty()) read_expert_map(o, in);
  if (!o.capacities.empty()) read_capacities(o, in);
  if (!o.modalities.empty()) read_modalities(o, in);
  if (!o.prior.empty()) read_prior(o, in);
  if (!o.protected_tokens.empty())
    in.protected_tokens = read_flags({"--protected", o.protected_tokens}, in.tokens, "one per token");
  if (o.full_experts >= 0) map_full_experts(o, in);
  if (auto* set = std::get_if<resonance::token_choice::rank_set>(&o.selection)) set->ranks = o.ranks.data();
  o.prune.hidden = in.hidden_size;
  o.prune.top_k = o.choice.top_k;
  return in;
}

}  // namespace route_cli
