# SPDX-License-Identifier: Apache-2.0
"""Random inputs and options for resonance-route: every policy, awkward shapes, ties, non-finite logits."""
import numpy as np


def drawn(rng, *values):
    return values[rng.integers(len(values))]


def fill(rng, shape, dtype, whole):
    """Whole numbers make ties everywhere and affinities that float32 holds exactly."""
    values = rng.integers(-4, 5, shape) if whole else rng.normal(0, 1, shape)
    return np.asarray(values, dtype)


def with_specials(rng, logits):
    """Some logits that are not finite, and a token that no expert can have."""
    where = rng.random(logits.shape)
    logits[where < 0.05] = np.nan
    logits[(where >= 0.05) & (where < 0.1)] = -np.inf
    logits[(where >= 0.1) & (where < 0.13)] = np.inf
    if len(logits):
        logits[rng.integers(len(logits))] = drawn(rng, np.nan, -np.inf)


def inputs(rng, tokens, experts):
    """The options that name the input, its arrays, and whether the affinities are exact in float32."""
    dtype = drawn(rng, np.float32, np.float16)
    whole = rng.random() < 0.4
    metric = drawn(rng, "logits", "logits", "logits", "dot", "dot", "cosine", "grap", "grap-mean")
    if metric == "logits":
        arrays = {"logits": fill(rng, (tokens, experts), dtype, whole)}
        if rng.random() < 0.25:
            with_specials(rng, arrays["logits"])
        return drawn(rng, [], ["--metric", "logits"]), arrays, True
    hidden = experts + int(rng.integers(0, 40)) if metric.startswith("grap") else int(rng.integers(1, 70))
    arrays = {"hidden": fill(rng, (tokens, hidden), dtype, whole)}
    if tokens and rng.random() < 0.3:
        arrays["hidden"][rng.integers(tokens)] = 0
    if metric.startswith("grap"):
        return ["--metric", metric, "--experts", str(experts)], arrays, False
    arrays["gate"] = fill(rng, (experts, hidden), drawn(rng, dtype, np.float32, np.float16), whole)
    named = metric == "cosine" or rng.random() < 0.5
    return ["--metric", metric] if named else [], arrays, whole and metric == "dot"


def selection(rng, experts, arrays):
    options = []
    top_k = int(drawn(rng, 1, 2, 3, experts, rng.integers(1, experts + 1)))
    top_k = min(top_k, experts)
    if top_k != 2 or rng.random() < 0.5:
        options += ["--top-k", str(top_k)]
    score = drawn(rng, None, "identity", "softmax", "sigmoid", "sqrt-softplus", "relu-softmax")
    options += ["--score", score] if score else []
    divisors = [n for n in range(1, experts + 1) if experts % n == 0]
    finite = all(np.isfinite(a).all() for a in arrays.values())
    kind = rng.random()
    if kind < 0.3 and finite:
        groups = int(drawn(rng, *divisors))
        options += ["--groups", str(groups), "--top-groups", str(rng.integers(1, groups + 1))]
        options += drawn(rng, [], ["--group-score", "sum2"], ["--group-score", "best"])
    elif kind < 0.5:
        options += ["--top-p", f"{rng.uniform(0.05, 0.99):.3f}"]
    if rng.random() < 0.3:
        arrays["bias"] = fill(rng, experts, drawn(rng, np.float32, np.float16), rng.random() < 0.3)
    options += ["--renormalize"] if rng.random() < 0.4 else []
    options += ["--scale", f"{rng.uniform(0, 3):.3f}"] if rng.random() < 0.3 else []
    return options


def capacity(rng, tokens, from_logits):
    rule = drawn(rng, "unlimited", f"fixed:{rng.integers(0, tokens + 2)}", f"factor:{rng.uniform(0, 1.6):.3f}",
                 f"mass:{rng.uniform(0.05, 1):.3f}", "mass:1", "mass:0.76", "bound", f"bound:{rng.uniform(0, 0.6):.3f}")
    options = [] if rule == "unlimited" and rng.random() < 0.5 else ["--capacity", rule]
    if rule.startswith("bound") and from_logits:
        options += ["--hidden-size", str(rng.integers(1, 60))]
    options += ["--capacity-cap", str(rng.integers(0, tokens + 2))] if rng.random() < 0.25 else []
    options += ["--shared-capacity"] if rng.random() < 0.25 else []
    options += drawn(rng, [], ["--drop", drawn(rng, "affinity", "position", "slot-major", "batch-prioritized")])
    return options


def draw(rng):
    """One case: options without file names, arrays by the option that takes them, whether affinities are exact."""
    tokens = int(drawn(rng, 0, 1, 2, 7, 16, 33, rng.integers(1, 60)))
    experts = int(drawn(rng, 1, 2, 3, 8, 16, 17, rng.integers(1, 24)))
    options, arrays, exact = inputs(rng, tokens, experts)
    # --top-k is 2 unless given, which one expert cannot serve.
    chosen = selection(rng, experts, arrays)
    if experts == 1 and "--top-k" not in chosen:
        chosen += ["--top-k", "1"]
    options += chosen
    options += drawn(rng, [], ["--merge", drawn(rng, "restricted", "intersection", "union", "token-only",
                                                "expert-only")])
    options += capacity(rng, tokens, "logits" in arrays)
    options += ["--tile", str(drawn(rng, 1, 2, 3, 8, 16))] if rng.random() < 0.5 else []
    options += ["--threads", str(rng.integers(1, 5))] if rng.random() < 0.5 else []
    return options, arrays, exact
