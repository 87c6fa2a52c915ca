// SPDX-License-Identifier: Apache-2.0
#include "resonance_route/routers.hpp"

#include <algorithm>
#include <functional>
#include <vector>

namespace route_cli {
namespace {

namespace affinity = resonance::affinity;
namespace catalogue = resonance::catalogue;

//! A composition of the library becomes the options of this program; files are bound to it later.
template <class Router>
void take(options& o, const Router& router) {
  o.score = router.score;
  o.selection = router.selection;
  o.merge = router.merge;
  o.capacity = router.capacity;
  o.drop = router.order;
  o.choice = router.choice;
  o.prune = router.prune;
  o.expert_capacity = router.expert_capacity;
}

template <class Router>
void take_of_slices(options& o, const char* metric, const Router& router) {
  take(o, router);
  o.router_metric = metric;
}

//! The ranks outlive the composition that points to them.
template <class Router>
void take_ranks(options& o, const Router& router) {
  take(o, router);
  o.ranks.assign(router.selection.ranks, router.selection.ranks + router.choice.top_k);
}

struct named_router {
  const char* name;
  const char* does;
  const char* source;
  std::function<void(options&)> apply;
};

const std::vector<named_router>& routers() {
  static const std::vector<named_router> all = {
      {"mixtral", "softmax, 2 best, renormalized", "arXiv 2401.04088",
       [](options& o) { take(o, catalogue::mixtral()); }},
      {"qwen3-moe", "softmax, 8 best, renormalized", "arXiv 2505.09388",
       [](options& o) { take(o, catalogue::qwen3_moe()); }},
      {"qwen3-next", "softmax, 10 best, renormalized", "Qwen3-Next-80B-A3B",
       [](options& o) { take(o, catalogue::qwen3_next()); }},
      {"olmoe", "softmax, 8 best", "arXiv 2409.02060", [](options& o) { take(o, catalogue::olmoe()); }},
      {"phi3.5-moe", "2 best, each weighed by a softmax over the experts near it (SparseMixer)", "arXiv 2409.12136",
       [](options& o) {
         take(o, catalogue::phi3_5_moe());
         o.sparse_mixer = true;
       }},
      {"dbrx", "softmax, 4 best, renormalized", "DBRX", [](options& o) { take(o, catalogue::dbrx()); }},
      {"deepseek-v2", "softmax, 6 best of 3 of 8 groups (by their best), times 16", "arXiv 2405.04434",
       [](options& o) { take(o, catalogue::deepseek_v2()); }},
      {"deepseek-v3", "sigmoid + --bias, 8 best of 4 of 8 groups (by their two best), renormalized, times 2.5",
       "arXiv 2412.19437", [](options& o) { take(o, catalogue::deepseek_v3(nullptr)); }},
      {"kimi-k2", "sigmoid + --bias, 8 best, renormalized, times 2.827", "arXiv 2507.20534",
       [](options& o) { take(o, catalogue::kimi_k2(nullptr)); }},
      {"glm-4.5", "sigmoid + --bias, 8 best, renormalized, times 2.5", "arXiv 2508.06471",
       [](options& o) { take(o, catalogue::glm4_5(nullptr)); }},
      {"minimax-m2", "sigmoid + --bias, 8 best, renormalized", "MiniMax-M2",
       [](options& o) { take(o, catalogue::minimax_m2(nullptr)); }},
      {"nemotron-3", "sigmoid + --bias, 22 best, renormalized, times 5", "Nemotron-3",
       [](options& o) { take(o, catalogue::nemotron_3(nullptr)); }},
      {"gpt-oss", "4 best, softmax over them", "arXiv 2508.10925", [](options& o) { take(o, catalogue::gpt_oss()); }},
      {"llama4", "the best, its sigmoid", "Llama 4", [](options& o) { take(o, catalogue::llama4()); }},
      {"switch", "softmax, the best; capacity 1.25 T/E by position", "arXiv 2101.03961",
       [](options& o) { take(o, catalogue::switch_transformer()); }},
      {"gshard", "softmax, 2 best, renormalized; capacity 2 T/E, first choices first", "arXiv 2006.16668",
       [](options& o) { take(o, catalogue::gshard()); }},
      {"v-moe", "probabilities, 2 best; capacity 1.05 T K/E, first choices first, likeliest tokens first",
       "arXiv 2106.05974",
       [](options& o) {
         take(o, catalogue::v_moe());
         o.as_probabilities = true;
       }},
      {"expert-choice", "probabilities; every expert takes its 2 T/E best tokens", "arXiv 2202.09368",
       [](options& o) {
         take(o, catalogue::expert_choice());
         o.as_probabilities = true;
       }},
      {"sinkhorn", "the best of logits balanced by 8 iterations of Sinkhorn, weight its sigmoid (BASE layers)",
       "arXiv 2103.16716",
       [](options& o) {
         take(o, catalogue::sinkhorn(nullptr));
         o.sinkhorn_iterations = 8;
         o.score = affinity::sigmoid{};
       }},
      {"locmoe", "means of slices (--hidden, --experts), softmax of their ReLU, the best; capacity 1.1 T/E by position",
       "arXiv 2401.13920", [](options& o) { take_of_slices(o, "grap-mean", catalogue::locmoe()); }},
      {"etr", "GrAP (--hidden, --experts), the best; experts keep the tokens that hold 0.76 of their affinity mass",
       "arXiv 2406.00023", [](options& o) { take_of_slices(o, "grap", catalogue::etr()); }},
      {"etr-bound", "as etr, with the capacity's lower bound at the batch's largest affinity", "arXiv 2406.00023",
       [](options& o) { take_of_slices(o, "grap", catalogue::etr_bound()); }},
      {"etr-baseline", "as etr, with capacity 1.1 T/E by position", "arXiv 2406.00023",
       [](options& o) { take_of_slices(o, "grap", catalogue::etr_baseline()); }},
      {"moma",
       "every expert takes its share of the tokens of its modality, by sigmoid (--modalities, "
       "--expert-modalities)",
       "arXiv 2407.21770",
       [](options& o) {
         take(o, catalogue::moma_experts());
         o.capacity_by_modality = true;
       }},
      {"moma-causal", "every expert whose auxiliary logit is above 0", "arXiv 2407.21770",
       [](options& o) {
         take(o, catalogue::moma_causal(0));
         o.every_expert = true;
       }},
      {"moe++", "softmax over FFN and zero-computation experts, 2 best; capacity by cost, tau 0.75 (--full-experts)",
       "arXiv 2410.07348",
       [](options& o) { take(o, catalogue::moe_plus_plus(catalogue::moe_plus_plus_experts{}, nullptr)); }},
      {"mc", "as mixtral; weak second choices are given up (--prune-choices ratio:MU, --protected)", "arXiv 2410.06270",
       [](options& o) { take(o, catalogue::mc()); }},
      {"adapmoe", "as mixtral; second choices are given up by sensitivity (--prune-choices sensitivity:T,S)",
       "arXiv 2408.10284", [](options& o) { take(o, catalogue::adapmoe()); }},
      {"scmoe-strong", "softmax, 2 best, renormalized: the strong pass", "arXiv 2405.14507",
       [](options& o) { take_ranks(o, catalogue::scmoe{}.strong()); }},
      {"scmoe-weak", "the second best alone: the weak pass", "arXiv 2405.14507",
       [](options& o) { take_ranks(o, catalogue::scmoe{}.weak()); }},
      {"mor1e", "every expert, by 16 softmax + 2 prior of the token's sequence (--prior, --sequences)",
       "arXiv 2404.08985",
       [](options& o) {
         o.score = affinity::identity{};
         o.merge = resonance::merge::token_only{};
         o.as_probabilities = true;
         o.every_expert = true;
         o.blend = catalogue::mor1e{}.weights();
       }},
      {"exflow", "softmax, the best; the plan of a device with the experts of its --expert-map", "arXiv 2401.08383",
       [](options& o) { take(o, catalogue::softmax_top_k(1, false)); }},
      {"mixture-of-depths", "one column of logits; the best quarter of the tokens, by sigmoid", "arXiv 2404.02258",
       [](options& o) { take(o, catalogue::mixture_of_depths()); }},
  };
  return all;
}

}  // namespace

std::string list_of_routers() {
  std::size_t width = 0;
  for (const named_router& router : routers()) width = std::max(width, std::string(router.name).size());
  std::string text;
  for (const named_router& router : routers()) {
    std::string name = router.name;
    name.resize(width + 2, ' ');
    text += name + router.does + "  [" + router.source + "]\n";
  }
  return text;
}

void apply_router(const std::string& name, options& o) {
  for (const named_router& router : routers()) {
    if (name != router.name) continue;
    router.apply(o);
    return;
  }
  throw failure("--router: there is no router '" + name + "'; --list-routers prints them");
}

}  // namespace route_cli
