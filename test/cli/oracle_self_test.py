#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The oracle against cases small enough to work out by hand."""
import math

import numpy as np

import route_oracle as oracle

NONE = -1


def run(options, **arrays):
    return oracle.route(oracle.parser().parse_args(options.split()), **arrays)


def f32(rows):
    return np.array(rows, np.float32)


def same(found, wanted):
    assert np.array_equal(np.asarray(found), np.asarray(wanted)), f"found {found}, want {wanted}"


def near(found, wanted):
    assert np.allclose(found, wanted, atol=1e-6), f"found {found}, want {wanted}"


# Five tokens, two experts, one choice each: experts 0, 0, 0, 1, 0.
FIVE = f32([[0.5, 0], [0.25, 0], [1, 0], [0, 2], [0.25, 0]])


def test_ties_go_to_the_lower_expert_and_nan_and_minus_infinity_are_never_chosen():
    r = run("--score identity --top-k 3", logits=f32([[1, 2, 2], [np.nan, -np.inf, 0], [np.inf, -0.0, 0.0]]))
    same(r.arrays["topk_ids"], [[1, 2, 0], [2, NONE, NONE], [0, 1, 2]])
    same(r.arrays["topk_weights"][1], [0, 0, 0])
    assert r.arrays["topk_weights"][2, 0] == np.finfo(np.float32).max


def test_scores_renormalize_and_scale():
    logits = f32([[math.log(1), math.log(2), math.log(5)]])
    near(run("--top-k 2", logits=logits).arrays["topk_weights"], [[5 / 8, 2 / 8]])
    near(run("--top-k 2 --renormalize --scale 7", logits=logits).arrays["topk_weights"], [[5, 2]])
    near(run("--top-k 1 --score sigmoid", logits=logits).arrays["topk_weights"], [[5 / 6]])
    near(run("--top-k 1 --score sqrt-softplus", logits=logits).arrays["topk_weights"], [[math.sqrt(math.log(6))]])
    near(run("--top-k 1 --score sqrt-softplus", logits=f32([[25.0]])).arrays["topk_weights"], [[5.0]])
    tiny = run("--top-k 1 --score sigmoid --renormalize", logits=f32([[-100.0]]))
    assert tiny.ambiguous == {"renormalize"}
    below = run("--top-k 2 --score relu-softmax", logits=f32([[-2, -1, math.log(2)]]))
    same(below.arrays["topk_ids"], [[2, 0]])
    near(below.arrays["topk_weights"], [[0.5, 0.25]])


def test_bias_selects_but_does_not_weigh():
    r = run("--top-k 2 --score sigmoid", logits=f32([[0, 3, -3]]), bias=f32([5, 0, 1]))
    same(r.arrays["topk_ids"], [[0, 2]])
    near(r.arrays["topk_weights"], [[0.5, 1 / (1 + math.exp(3))]])


def test_groups_rank_by_their_two_best_or_their_best():
    logits = f32([[4, 0, 3, 2, 1, 1]])
    two = "--score identity --top-k 3 --groups 3 --top-groups 1"
    same(run(two, logits=logits).arrays["topk_ids"], [[2, 3, NONE]])
    same(run(two + " --group-score best", logits=logits).arrays["topk_ids"], [[0, 1, NONE]])
    wide = "--score identity --top-k 3 --groups 3 --top-groups 2"
    same(run(wide, logits=logits).arrays["topk_ids"], [[0, 2, 3]])


def test_top_p_keeps_the_smallest_set():
    logits = f32([np.log([0.5, 0.3, 0.15, 0.05])])
    same(run("--top-k 4 --top-p 0.7", logits=logits).arrays["topk_ids"], [[0, 1, NONE, NONE]])
    same(run("--top-k 1 --top-p 0.7", logits=logits).arrays["topk_ids"], [[0]])
    assert run("--top-k 4 --top-p 0.8", logits=logits).ambiguous == {"top-p"}


def test_metrics():
    x, w = f32([[3, 4, 0], [0, 0, 0]]), f32([[0, 2, 0], [1, 0, 0]])
    score = lambda options, **more: run(options + " --top-k 1 --write-scores", hidden=x, **more).arrays["scores"]
    near(score("", gate=w), [[8, 3], [0, 0]])
    near(score("--metric cosine", gate=w), [[0.8, 0.6], [0, 0]])
    # Slices [0, 2) and [2, 3): ceil(1 * 3 / 2) = 2.
    near(score("--metric grap --experts 2"), [[7 / (5 * math.sqrt(2)), 0], [0, 0]])
    near(score("--metric grap-mean --experts 2"), [[3.5, 0], [0, 0]])


def test_float16_is_widened_and_its_infinity_is_its_own_largest():
    logits = np.array([[np.inf, 1]], np.float16)
    near(run("--top-k 1 --score identity", logits=logits).arrays["topk_weights"], [[65504.0]])


def test_fixed_capacity_under_every_drop_order():
    start = "--score identity --top-k 1 --capacity fixed:2 --drop "
    same(run(start + "affinity", logits=FIVE).arrays["kept_ids"][:, 0], [0, NONE, 0, 1, NONE])
    same(run(start + "position", logits=FIVE).arrays["kept_ids"][:, 0], [0, 0, NONE, 1, NONE])
    # Token 0 has expert 1 as its second choice, tokens 1 and 2 as their first; token 0's best affinity is the largest.
    logits = f32([[9, 3], [0, 5], [1, 4]])
    start = "--score identity --top-k 2 --capacity fixed:1 --drop "
    same(run(start + "affinity", logits=logits).arrays["kept_ids"], [[0, NONE], [1, NONE], [NONE, NONE]])
    same(run(start + "slot-major", logits=logits).arrays["kept_ids"], [[0, NONE], [1, NONE], [NONE, NONE]])
    same(run(start + "batch-prioritized", logits=logits).arrays["kept_ids"], [[0, 1], [NONE, NONE], [NONE, NONE]])


def test_capacity_rules():
    capacity = lambda options, logits=FIVE: run("--score identity --top-k 1 --capacity " + options,
                                                logits=logits).summary["capacity"]
    assert capacity("unlimited") == 5
    assert capacity("unlimited --capacity-cap 3") == 3
    assert capacity("factor:1") == 3 and capacity("factor:0.8") == 2 and capacity("factor:0") == 0
    # Expert 0 ranks 1, .5, .25, .25 (sum 2): .5 takes the first, .51 two, .8 three; expert 1 has one token.
    assert capacity("mass:0.5") == [1, 1] and capacity("mass:0.51") == [2, 1] and capacity("mass:0.8") == [3, 1]
    assert capacity("mass:0.51 --shared-capacity") == 2 and capacity("mass:1 --capacity-cap 2") == [2, 1]
    assert capacity("mass:0.5", -FIVE - 1) == [1, 4]
    # exp(20 * .25 / 1.75) / 2 = 8.7, over the ceiling of ceil(1.1 * 5 / 2) = 3; m = .1: .55, so 1.
    assert capacity("bound:0.5 --hidden-size 20") == 3 and capacity("bound:0.1 --hidden-size 20") == 1
    # m = .35: exp(20 * .1225 / 1.8775) / 2 = 1.84.
    assert capacity("bound:0.35 --hidden-size 20") == 2
    assert capacity("bound --hidden-size 20") == 3


def test_mass_counts_in_whole_units():
    # The second value is below half of the unit 2^(0-30): it vanishes, so one token holds all the mass.
    assert oracle.mass_count(1.0, [1.0, 2.0 ** -32]) == 1
    assert oracle.mass_count(1.0, [1.0, 2.0 ** -30]) == 2
    # Half a unit is rounded to even: 0.5 -> 0 and 1.5 -> 2.
    assert oracle.mass_count(1.0, [1.0, 2.0 ** -31]) == 1
    assert oracle.mass_count(1.0, [1.0, 3 * 2.0 ** -31]) == 2
    assert oracle.mass_count(0.5, [-1.0, 0.0]) == 2


def test_merges():
    # Choices: tokens 0 and 1 take expert 0, token 2 takes expert 1; expert 1's best of all tokens is token 2, then 1.
    logits = f32([[3, 0], [2, 1], [1, 4]])
    start = "--score identity --top-k 1 --capacity fixed:1 --merge "
    same(run(start + "restricted", logits=logits).arrays["kept_ids"][:, 0], [0, NONE, 1])
    both = run("--score identity --top-k 1 --capacity fixed:2 --merge intersection", logits=logits)
    same(both.arrays["kept_ids"][:, 0], [0, 0, 1])
    none = run(start + "intersection", logits=logits)
    same(none.arrays["kept_ids"][:, 0], [0, NONE, 1])
    assert none.summary["assigned"] == 2 and none.summary["cut_share"] == 0
    union = run("--score identity --top-k 1 --capacity fixed:2 --merge union --tile 2", logits=logits)
    same(union.arrays["assignments"], [[0, 0, 0], [1, 0, 1], [1, 1, 1], [2, 1, 0]])
    same(union.arrays["sorted_token_ids"], [0, 1, 2, 3])
    same(union.arrays["inverse"], [0, 1, 2, 3])
    experts = run(start + "expert-only", logits=logits)
    same(experts.arrays["assignments"], [[0, 0, 0], [2, 1, 0]])


def test_plan_pads_each_expert_to_whole_tiles():
    r = run("--score identity --top-k 1 --tile 4", logits=FIVE)
    same(r.arrays["tokens_per_expert"], [4, 1])
    same(r.arrays["expert_offsets"], [0, 4, 8])
    same(r.arrays["sorted_token_ids"], [0, 1, 2, 4, 3, NONE, NONE, NONE])
    same(r.arrays["inverse"][:, 0], [0, 1, 2, 4, 3])


def test_summary():
    s = run("--score identity --top-k 1 --capacity fixed:2", logits=FIVE).summary
    assert (s["tokens"], s["experts"], s["top_k"], s["assigned"], s["kept"]) == (5, 2, 1, 5, 3)
    near([s["cut_share"], s["max_over_mean_load"], s["kept_mass"], s["delta_max"]], [0.4, 2 / 1.5, 3.5 / 4, 2])


def test_no_tokens():
    r = run("--top-k 2 --tile 8", logits=np.zeros((0, 3), np.float32))
    same(r.arrays["expert_offsets"], [0, 0, 0, 0])
    assert r.arrays["topk_ids"].shape == (0, 2) and r.summary["kept_mass"] == 1 and r.summary["delta_max"] is None


def main():
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    for _, test in tests:
        test()
    print(f"{len(tests)} passed, 0 failed")


if __name__ == "__main__":
    main()
