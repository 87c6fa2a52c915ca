// SPDX-License-Identifier: Apache-2.0
#include "resonance_route/options.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <iostream>
#include <memory>
#include <thread>
#include <utility>

#include "resonance_route/numbers.hpp"
#include "resonance_route/policies.hpp"
#include "resonance_route/routers.hpp"

namespace route_cli {
namespace {

const char* const footer = R"(
Arrays are .npy files in C order: float32 or float16 (hidden states, gate, logits, bias, norms, slice weights),
int32 (capacities, expert map). The written ones are float32 and int32, for tokens in input order; K = top-k:
  topk_ids [T,K]           the tokens' own choice, best first; -1 where no expert could be chosen
  topk_weights [T,K]       their combine weights
  kept_ids [T,K]           what is left after --merge, --capacity and --drop; -1 = dropped
  kept_weights [T,K]       the combine weights of what is left; 0 = dropped
  assignments [N,3]        instead of kept_ids for --merge union and expert-only, where a token may gain experts: the
                           kept (token, expert, rank in expert), by token; kept_weights is then [N]
  tokens_per_expert [E]    kept assignments of each expert
  expert_offsets [E+1]     the first row of each expert in the expert-ordered buffer of P rows
  sorted_token_ids [P]     row -> token*K + slot (or row of assignments); -1 = padding
  inverse [T,K]            slot -> row; -1 = has none ([N] with assignments)
  expert_ids [P/tile]      the expert of each tile of rows
  scores [T,E]             affinities, with --write-scores
The JSON holds tokens, experts, top_k, assigned, kept, cut_share, max_over_mean_load, kept_mass, delta_max (null where
nothing was chosen), capacity (a number, or a list per expert), rows (P), seconds (per stage), files, and balance with
--balance.

Errors are one line on stderr with exit status 1; no output file is then left behind.)";

// CLI11's own line also lists every needed and excluded option, which buries the rest.
class short_lines : public CLI::Formatter {
 public:
  short_lines() { column_width(30); }
  std::string make_option_opts(const CLI::Option* option) const override {
    const std::string type = option->get_type_name();
    return type.empty() ? "" : " " + type;
  }
  std::string make_option_desc(const CLI::Option* option) const override {
    const std::string value = option->get_default_str();
    return option->get_description() + (value.empty() ? "" : " [" + value + "]");
  }
};

class command_line {
 public:
  explicit command_line(options& o) : o_(o) {
    app_.set_version_flag("--version", std::to_string(RESONANCE_VERSION_MAJOR) + "." +
                                           std::to_string(RESONANCE_VERSION_MINOR) + "." +
                                           std::to_string(RESONANCE_VERSION_PATCH));
    app_.footer(footer);
    app_.formatter(std::make_shared<short_lines>());
    add_router();
    add_inputs();
    add_affinity();
    add_token_choice();
    add_merge_and_capacity();
    add_plan();
    add_outputs();
  }

  bool run(int argc, const char* const* argv) {
    try {
      app_.parse(argc, argv);
    } catch (const list_wanted&) {
      std::cout << list_of_routers() << std::flush;
      return false;
    } catch (const CLI::ParseError& error) {
      if (error.get_exit_code() == static_cast<int>(CLI::ExitCodes::Success)) {
        app_.exit(error);
        return false;
      }
      std::string line = error.what();
      std::replace(line.begin(), line.end(), '\n', ' ');
      throw failure(line);
    }
    choose_policies(t_, o_);
    return true;
  }

 private:
  using setter = std::function<void(const std::string&)>;
  struct list_wanted {};

  CLI::Option* add(const std::string& group, const std::string& name, const std::string& type, const setter& set,
                   const std::string& help) {
    return app_.add_option_function<std::string>(name, set, help)->type_name(type)->group(group);
  }
  CLI::Option* add_file(const std::string& group, const std::string& name, std::string& path, const std::string& help) {
    return add(
        group, name, "FILE",
        [&path, name](const std::string& text) {
          if (text.empty()) throw failure(name + ": want a path, got ''");
          path = text;
        },
        help);
  }
  CLI::Option* add_name(const std::string& group, const std::string& name, std::string& text,
                        std::vector<std::string> allowed, const std::string& help) {
    const std::string list = CLI::detail::join(allowed, " | ");
    return app_.add_option(name, text, help + ":\n" + list)
        ->capture_default_str()
        ->type_name("NAME")
        ->group(group)
        ->check(CLI::Validator(
            [allowed, list](const std::string& given) {
              const bool known = std::find(allowed.begin(), allowed.end(), given) != allowed.end();
              return known ? std::string{} : "want " + list + ", got '" + given + "'";
            },
            ""));
  }
  template <class Integer>
  CLI::Option* add_count(const std::string& group, const std::string& name, Integer& value, std::int64_t least,
                         const std::string& help) {
    constexpr auto most = static_cast<std::int64_t>(std::numeric_limits<Integer>::max());
    return add(
        group, name, "N",
        [&value, name, least](const std::string& text) {
          value = static_cast<Integer>(whole_number(name, text, least, most));
        },
        help);
  }
  CLI::Option* add_flag(const std::string& group, const std::string& name, bool& value, const std::string& help) {
    return app_.add_flag(name, value, help)->group(group);
  }

  void add_router() {
    const char* group = "Catalogue";
    router_ = add(
        group, "--router", "NAME", [this](const std::string& s) { t_.router = s; },
        "a router of the catalogue instead of policies one by one;\n--top-k, --bias and the plan can still be given");
    app_.add_flag_function(
            "--list-routers", [](std::int64_t) { throw list_wanted{}; }, "print the catalogue and end")
        ->group(group);
  }

  void add_inputs() {
    const char* group = "Input: hidden states, or logits";
    CLI::Option* hidden = add_file(group, "--hidden", o_.hidden, "hidden states X [T,H]");
    CLI::Option* gate = add_file(group, "--gate", o_.gate, "gate weights W [E,H]");
    CLI::Option* logits = add_file(group, "--logits", o_.logits, "router logits L [T,E]");
    logits->excludes(hidden)->excludes(gate);
    gate->needs(hidden);
    add_count(group, "--experts", o_.experts, 1, "E, for grap and grap-mean; elsewhere it must match the file");
    add_count(group, "--hidden-size", o_.hidden_size, 1, "H, for --capacity bound with --logits");
    add_file(group, "--token-norms", o_.token_norms, "|x_t| [T], for --metric cosine with --logits")->needs(logits);
    add_file(group, "--gate-norms", o_.gate_norms, "|w_i| [E], for --metric cosine with --logits")->needs(logits);
    add_file(group, "--slice-weights", o_.slice_weights, "weights [H], for grap and grap-mean")->needs(hidden);
    CLI::Option* modalities = add_file(group, "--modalities", o_.modalities, "modality of each token, int32 [T]");
    CLI::Option* of_experts =
        add_file(group, "--expert-modalities", o_.expert_modalities, "modality of each expert, int32 [E]");
    CLI::Option* prior = add_file(group, "--prior", o_.prior, "prior of each sequence [S,E], for --router mor1e");
    CLI::Option* sequences = add_file(group, "--sequences", o_.sequences, "sequence of each token, int32 [T]");
    prior->needs(sequences)->needs(router_);
    sequences->needs(prior);
    modalities->needs(of_experts);
    of_experts->needs(modalities);
  }

  void add_affinity() {
    const char* group = "Affinity and score";
    add_name(group, "--metric", t_.metric, {"dot", "cosine", "grap", "grap-mean", "logits"},
             "affinity of a pair, by default logits with --logits, else dot")
        ->excludes(router_);
    add_name(group, "--score", t_.score,
             {"identity", "softmax", "softmax-chosen", "sigmoid", "sqrt-softplus", "relu-softmax"},
             "how an affinity becomes a weight")
        ->excludes(router_);
    add(
        group, "--temperature", "X",
        [this](const std::string& s) { t_.temperature = real_float("--temperature", s, positive_float); },
        "divides the affinity inside the score function, > 0")
        ->default_str("1")
        ->excludes(router_);
    add(
        group, "--logit-cap", "X",
        [this](const std::string& s) { t_.logit_cap = real_float("--logit-cap", s, not_negative_float); },
        "cap * tanh(affinity / cap) inside the score function; 0 = off")
        ->default_str("0")
        ->excludes(router_);
    add_flag(group, "--as-probabilities", o_.as_probabilities,
             "affinities become softmaxes over the experts first, which\nare what tokens can be compared by")
        ->excludes(router_);
  }

  void add_token_choice() {
    const char* group = "Token choice";
    CLI::Option* top_k = add(
        group, "--top-k", "N",
        [this](const std::string& s) {
          t_.top_k = static_cast<std::int32_t>(whole_number("--top-k", s, 1, largest_int32));
        },
        "K, experts per token");
    top_k->default_str("2");
    CLI::Option* groups = add_count(group, "--groups", t_.groups, 1, "choose inside the best of N equal groups");
    CLI::Option* top_groups = add_count(group, "--top-groups", t_.top_groups, 1, "how many groups are kept");
    groups->needs(top_groups);
    top_groups->needs(groups);
    add_name(group, "--group-score", t_.group_score, {"sum2", "best"}, "a group's score: its two best, or its best")
        ->needs(groups);
    CLI::Option* top_p = add(
        group, "--top-p", "P", [this](const std::string& s) { t_.top_p = real_number("--top-p", s, share); },
        "fewest experts that hold softmax mass P, at most K");
    CLI::Option* ranks = add(
        group, "--ranks", "R0,R1,..", [this](const std::string& s) { o_.ranks = rank_list("--ranks", s); },
        "positions of the descending order (0 = best) instead of\nthe K best; K is their count");
    CLI::Option* above = add(
        group, "--above", "X", [this](const std::string& s) { t_.above = real_float("--above", s, any_float); },
        "the K best of the experts with an affinity above X");
    top_p->excludes(groups)->excludes(router_);
    ranks->excludes(groups)->excludes(top_p)->excludes(top_k)->excludes(router_);
    above->excludes(groups)->excludes(top_p)->excludes(ranks)->excludes(router_);
    groups->excludes(router_);
    add_count(group, "--sinkhorn", o_.sinkhorn_iterations, 1,
              "choose by affinity + a bias that evens out the experts,\nmade by N iterations of Sinkhorn")
        ->excludes(router_);
    add_file(group, "--bias", o_.bias, "correction bias [E], added for the selection only")->excludes("--sinkhorn");
    add_flag(group, "--renormalize", o_.choice.renormalize, "divide a token's weights by their sum")->excludes(router_);
    add(
        group, "--scale", "X",
        [this](const std::string& s) { o_.choice.routed_scaling_factor = real_float("--scale", s, any_float); },
        "then multiply them by this")
        ->default_str("1")
        ->excludes(router_);
    add(
        group, "--prune-choices", "RULE", [this](const std::string& s) { t_.pruned_choices = s; },
        "which choices a token gives up again [none]:\n"
        "ratio:MU          all that weigh less than MU times its first\n"
        "sensitivity:T,S   all whose share is below sqrt(T/S)");
    add_file(group, "--protected", o_.protected_tokens, "tokens that give up none, uint8 [T]");
    add_name(group, "--missing", t_.missing, {"minus-one", "lowest-ids"}, "id of a slot that finds no expert")
        ->excludes("--sinkhorn");
  }

  void add_merge_and_capacity() {
    const char* group = "Merge";
    add_name(group, "--merge", t_.merge, {"restricted", "intersection", "union", "token-only", "expert-only"},
             "how the tokens' and the experts' choice meet")
        ->excludes(router_);
    add_count(group, "--expert-capacity", o_.expert_capacity, 0,
              "tokens that an expert chooses, where the merge asks it [as --capacity says]")
        ->excludes(router_);

    group = "Capacity (after the merge)";
    add(
        group, "--capacity", "RULE", [this](const std::string& s) { t_.capacity = s; },
        "how many assignments an expert keeps [unlimited]:\n"
        "unlimited\n"
        "fixed:C\n"
        "factor:F          ceil(F*T*K/E)\n"
        "mass:RHO          the fewest best that hold the share RHO of the expert's affinity mass\n"
        "bound             the lower bound at the batch's largest chosen affinity\n"
        "bound:DELTA       the lower bound at DELTA\n"
        "heterogeneous:F,TAU   --full-experts hold TAU of what the others hold\n"
        "per-expert:FILE   int32 [E]")
        ->excludes(router_);
    add(
        group, "--capacity-factor", "F",
        [this](const std::string& s) { t_.capacity_factor = real_number("--capacity-factor", s, not_negative); },
        "upper end of bound: ceil(F*T*K/E)")
        ->default_str("1.1");
    add_count(group, "--capacity-floor", t_.capacity_floor, 0, "lower end of bound")->default_str("1");
    add_count(group, "--capacity-cap", o_.prune.capacity_cap, 0, "no expert gets a larger capacity [none]");
    add_flag(group, "--shared-capacity", o_.prune.shared, "the largest capacity holds for every expert");
    add_name(group, "--drop", t_.drop,
             {"affinity", "position", "slot-major", "batch-prioritized", "slot-major-prioritized"},
             "who comes first where an expert is full (mass always cuts by affinity)")
        ->excludes(router_);
    add_flag(group, "--renormalize-kept", o_.prune.renormalize, "divide a token's kept weights by their sum");
  }

  void add_plan() {
    const char* group = "Plan";
    add_count(group, "--tile", o_.plan.tile_tokens, 1, "rows of an expert start at a multiple of N")->default_str("1");
    add_flag(group, "--by-affinity", o_.plan.by_affinity, "rows of an expert by affinity, not by token");
    add_flag(group, "--pad-to-capacity", o_.pad_to_capacity, "C rows for every expert, C the largest capacity");
    CLI::Option* map = add_file(group, "--expert-map", o_.expert_map,
                                "int32 [E]: local id of each expert, -1 = elsewhere;\n"
                                "the plan is then of the local experts");
    add_count(group, "--full-experts", o_.full_experts, 1,
              "only the first N experts get rows: the others, of\nzero computation, are added where the token is")
        ->excludes(map);
  }

  void add_outputs() {
    const char* group = "Run and output";
    o_.threads = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, most_threads));
    add(
        group, "--threads", "N",
        [this](const std::string& s) {
          o_.threads = static_cast<int>(whole_number("--threads", s, 1, std::int64_t{most_threads}));
        },
        "worker threads; no result depends on it [all of the machine's]");
    add(
        group, "--out", "DIR",
        [this](const std::string& s) {
          if (s.empty()) throw failure("--out: want a path, got ''");
          o_.out = s;
        },
        "write the arrays here [no arrays]");
    add_file(group, "--json", o_.json, "write the summary here [standard output]");
    add_flag(group, "--write-scores", o_.write_scores, "also write scores.npy")->needs("--out");
    add_flag(group, "--balance", o_.balance, "add balance losses and statistics to the JSON");
    add(
        group, "--locality-epsilon", "X",
        [this](const std::string& s) {
          o_.locality_epsilon = real_number("--locality-epsilon", s, {0.0, 1.0, true});
          if (o_.locality_epsilon >= 1.0) throw failure("--locality-epsilon: want a number in (0, 1), got '" + s + "'");
        },
        "share meant for experts elsewhere in the locality loss,\nfor --balance with --expert-map")
        ->default_str("0.1")
        ->needs("--balance")
        ->needs("--expert-map");
  }

  static constexpr unsigned most_threads = 1024;

  options& o_;
  texts t_;
  CLI::Option* router_ = nullptr;
  CLI::App app_{"Routes the tokens of a mixture-of-experts layer: affinity, token choice, merge, capacity, plan.",
                "resonance-route"};
};

}  // namespace

std::optional<options> parse(int argc, const char* const* argv) {
  options o;
  command_line line(o);
  if (!line.run(argc, argv)) return std::nullopt;
  return o;
}

}  // namespace route_cli
