#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What resonance-route must answer, computed with NumPy alone and from the written contract, not from the library.

Same options and same output files as resonance-route. Affinities are formed in float64 and rounded to float32 once;
from there on everything that decides who goes where is compared on float32 bits or on integers.

`ambiguous` names the choices that hang on the last bits of a transcendental function, where two right
programs may differ; a caller that wants an exact comparison draws another input then.
"""
import argparse
import json
import math
import pathlib
import types

import numpy as np

LARGEST = float(np.finfo(np.float32).max)
NEAR = 1e-5  # two computed keys closer than this may change places from one correct program to another


def parser():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("hidden", "gate", "logits", "bias", "out", "json"):
        p.add_argument("--" + name)
    p.add_argument("--metric", choices=["dot", "cosine", "grap", "grap-mean", "logits"])
    p.add_argument("--score", default="softmax",
                   choices=["identity", "softmax", "sigmoid", "sqrt-softplus", "relu-softmax"])
    p.add_argument("--experts", type=int)
    p.add_argument("--top-k", type=int, default=2)
    p.add_argument("--groups", type=int)
    p.add_argument("--top-groups", type=int)
    p.add_argument("--group-score", choices=["sum2", "best"], default="sum2")
    p.add_argument("--top-p", type=float)
    p.add_argument("--renormalize", action="store_true")
    p.add_argument("--scale", type=float, default=1.0)
    p.add_argument("--merge", default="restricted",
                   choices=["restricted", "intersection", "union", "token-only", "expert-only"])
    p.add_argument("--capacity", default="unlimited")
    p.add_argument("--hidden-size", type=int)
    p.add_argument("--capacity-cap", type=int)
    p.add_argument("--shared-capacity", action="store_true")
    p.add_argument("--drop", default="affinity", choices=["affinity", "position", "slot-major", "batch-prioritized"])
    p.add_argument("--tile", type=int, default=1)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--write-scores", action="store_true")
    return p


# --- affinity ---------------------------------------------------------------------------------------------------------

def ceil_div(a, b):
    return -(-a // b)


def slice_of(expert, experts, hidden):
    return ceil_div(expert * hidden, experts), ceil_div((expert + 1) * hidden, experts)


def widen(array):
    """float64 with +inf as the largest finite value of the array's own type."""
    return np.where(np.isposinf(array), float(np.finfo(array.dtype).max), array.astype(np.float64))


def affinities(o, hidden, gate, logits):
    if logits is not None:
        return widen(logits)
    x = widen(hidden)
    norm = np.sqrt((x * x).sum(axis=1, keepdims=True))
    if gate is not None and o.metric in (None, "dot", "cosine"):
        w = widen(gate)
        delta = x @ w.T
        if o.metric == "cosine":
            product = norm * np.sqrt((w * w).sum(axis=1))[None, :]
            delta = np.divide(delta, product, out=np.zeros_like(delta), where=product > 0)
        return delta
    bounds = [slice_of(e, o.experts, x.shape[1]) for e in range(o.experts)]
    delta = np.stack([x[:, a:b].sum(axis=1) for a, b in bounds], axis=1).reshape(len(x), o.experts)
    length = np.array([b - a for a, b in bounds], dtype=np.float64)[None, :]
    if o.metric == "grap-mean":
        return delta / length
    return np.divide(delta, norm * np.sqrt(length), out=np.zeros_like(delta), where=norm > 0)


def softmax(values, choosable):
    """Over the choosable entries of a row; the others have no mass."""
    if not choosable.any():
        return np.zeros_like(values)
    shifted = np.where(choosable, values, -np.inf)
    powers = np.exp(shifted - shifted.max())
    return powers / powers.sum()


def scores(kind, delta, choosable):
    """One row of combine weights before selection, float64; 0 where the pair can't be chosen."""
    finite = np.where(choosable, delta, 0.0)
    if kind == "identity":
        out = finite
    elif kind == "softmax":
        out = softmax(finite, choosable)
    elif kind == "relu-softmax":
        out = softmax(np.maximum(finite, 0.0), choosable)
    elif kind == "sigmoid":
        out = np.where(finite >= 0, 1 / (1 + np.exp(-np.abs(finite))),
                       np.exp(-np.abs(finite)) / (1 + np.exp(-np.abs(finite))))
    else:
        out = np.where(finite > 20, np.sqrt(np.abs(finite)), np.sqrt(np.log1p(np.exp(np.minimum(finite, 20)))))
    return np.where(choosable, out, 0.0)


# --- the two sides ----------------------------------------------------------------------------------------------------

def best_first(keys, members):
    """`members` by key descending, equal keys by lower index; -0 equals +0."""
    return sorted(members, key=lambda i: (-float(keys[i]), i))


def too_close(keys, causes, exact):
    """Whether two keys with different causes lie so near that rounding may swap them."""
    if exact:
        return False
    order = sorted(range(len(keys)), key=lambda i: float(keys[i]))
    for a in range(len(order)):
        for b in range(a + 1, len(order)):
            i, j = order[a], order[b]
            if float(keys[j]) - float(keys[i]) >= NEAR * max(1.0, abs(float(keys[j]))):
                break
            if causes[i] != causes[j]:
                return True
    return False


def selection_keys(o, row, choosable, score, bias):
    if bias is not None:
        return (score.astype(np.float32) + bias).astype(np.float32)
    return np.maximum(row, 0.0) if o.score == "relu-softmax" else row


def kept_groups(o, score, bias, choosable, causes, ambiguous):
    # The best two of a group are added in float32, as any program on float32 scores would.
    value = score.astype(np.float32) if bias is None else (score.astype(np.float32) + bias).astype(np.float32)
    size = len(value) // o.groups
    count = 1 if o.group_score == "best" else 2
    totals, reasons, live = [], [], []
    for g in range(o.groups):
        members = [e for e in range(g * size, (g + 1) * size) if choosable[e]]
        top = best_first(value, members)[:count]
        live.append(bool(top))
        totals.append(np.float32(0) if not top else value[top[0]] if len(top) == 1 else value[top[0]] + value[top[1]])
        reasons.append(tuple(causes[e] for e in top))
    if too_close([totals[g] for g in range(o.groups) if live[g]], [reasons[g] for g in range(o.groups) if live[g]],
                 o.score == "identity"):
        ambiguous.add("groups")
    chosen = best_first(totals, [g for g in range(o.groups) if live[g]])[:o.top_groups]
    return {e for g in chosen for e in range(g * size, (g + 1) * size)}


def underflows(kind, total):
    """Whether this sum of scores, never 0 in exact arithmetic, rests on exponentials that may become 0 in float32."""
    least = float(np.finfo(np.float32).tiny) / 1e-6
    return kind != "identity" and total < (math.sqrt(least) if kind == "sqrt-softplus" else least)


def token_choice(o, delta, choosable, bias, ambiguous):
    tokens, experts = delta.shape
    ids = np.full((tokens, o.top_k), -1, np.int32)
    weights = np.zeros((tokens, o.top_k), np.float64)
    for t in range(tokens):
        row, can = delta[t], choosable[t]
        score = scores(o.score, row, can)
        causes = [(float(row[e]) + 0.0, 0.0 if bias is None else float(bias[e])) for e in range(experts)]
        keys = selection_keys(o, row, can, score, bias)
        can_key = can & ~np.isnan(keys) & ~np.isneginf(keys)
        members = [e for e in range(experts) if can_key[e]]
        if bias is not None and too_close(keys[members], [causes[e] for e in members], o.score == "identity"):
            ambiguous.add("bias")
        if o.groups:
            kept = kept_groups(o, score, bias, can_key, causes, ambiguous)
            members = [e for e in members if e in kept]
        chosen = best_first(keys, members)[:o.top_k]
        if o.top_p is not None:
            mass = np.cumsum(softmax(np.where(can, row, 0.0), can)[chosen])
            if len(mass) and np.min(np.abs(mass - o.top_p)) < NEAR:
                ambiguous.add("top-p")
            chosen = chosen[:int(np.count_nonzero(mass < o.top_p)) + 1]
        weight = score[chosen]
        if o.renormalize and len(chosen):
            total = weight.sum()
            if abs(total) < 1e-2 * np.abs(weight).sum() or np.abs(weight).max() > 1e30 or underflows(o.score, total):
                ambiguous.add("renormalize")
            weight = weight / total if total > 0 else weight
        ids[t, :len(chosen)] = chosen
        weights[t, :len(chosen)] = weight * o.scale
    return ids, weights


def mass_count(rho, affinity):
    """The least count of the best affinities that holds the share rho of their positive part, in whole units."""
    a = np.maximum(np.asarray(affinity, np.float64), 0.0)
    if a.sum() == 0:
        return len(a)
    mantissa, exponent = math.frexp(a.max())  # max = mantissa * 2^exponent, mantissa in [.5, 1)
    exponent -= mantissa == 0.5
    units = [int(np.rint(math.ldexp(v, 30 - exponent))) for v in sorted(a, reverse=True)]
    wanted = math.ceil(rho * float(sum(units)))
    reached = 0
    for count, unit in enumerate(units, 1):
        reached += unit
        if reached >= wanted:
            return count
    return len(units)


def capacities(o, shape, hidden_size, delta_max, members, ambiguous):
    """C_i by the rule; `members[i]` holds the affinities that expert i ranks."""
    tokens, experts = shape
    rule, _, value = o.capacity.partition(":")
    if rule == "mass":
        out = [mass_count(float(value), m) for m in members]
    elif rule == "bound":
        m = float(value) if value else max(0.0, delta_max)
        upper = min(tokens, math.ceil(1.1 * tokens * o.top_k / experts))
        gap = 2.0 - m * m
        exponent = math.inf if gap <= 0 else hidden_size * m * m / gap - math.log(experts)
        if exponent > 60:
            least = upper
        else:
            exact = math.exp(exponent)
            if abs(exact - round(exact)) < 1e-9 * max(1.0, exact):
                ambiguous.add("bound")
            least = math.ceil(exact)
        out = [min(max(least, 1), upper)] * experts
    else:
        single = {"unlimited": lambda: tokens, "fixed": lambda: int(value),
                  "factor": lambda: math.ceil(float(value) * tokens * o.top_k / experts)}[rule]()
        out = [single] * experts
    return out if o.capacity_cap is None else [min(c, o.capacity_cap) for c in out]


def experts_choice(delta, choosable, capacity):
    return [set(best_first(delta[:, e], np.flatnonzero(choosable[:, e]))[:capacity[e]]) for e in range(delta.shape[1])]


def merged(o, ids, delta, choosable, side_capacity):
    """Per token its (slot, expert) pairs: own choices in slot order, then gained experts by id."""
    tokens = len(ids)
    own = [[(k, int(e)) for k, e in enumerate(ids[t]) if e >= 0] for t in range(tokens)]
    if o.merge in ("restricted", "token-only"):
        return own
    chosen_by = experts_choice(delta, choosable, side_capacity)
    if o.merge == "intersection":
        return [[(k, e) for k, e in own[t] if t in chosen_by[e]] for t in range(tokens)]
    out = []
    for t in range(tokens):
        first = [e for _, e in own[t]] if o.merge == "union" else []
        gained = [e for e in range(delta.shape[1]) if t in chosen_by[e] and e not in first]
        out.append(list(enumerate(first + gained)))
    return out


def cut(o, pairs, delta, capacity):
    """The kept (token, slot, expert) triples, in token order, and the rank by affinity of every merged pair."""
    key = {"affinity": lambda t, k, e: (-float(delta[t, e]), t, k), "position": lambda t, k, e: (t, k),
           "slot-major": lambda t, k, e: (k, t),
           "batch-prioritized": lambda t, k, e: (-max(float(delta[t, x]) for _, x in pairs[t]), t, k)}
    order = "affinity" if o.capacity.startswith("mass") else o.drop
    kept, rank = set(), {}
    for e in range(delta.shape[1]):
        members = [(t, k, x) for t, row in enumerate(pairs) for k, x in row if x == e]
        for r, triple in enumerate(sorted(members, key=lambda m: key["affinity"](*m))):
            rank[triple] = r
        kept.update(sorted(members, key=lambda m: key[order](*m))[:capacity[e]])
    return [(t, k, e) for t, row in enumerate(pairs) for k, e in row if (t, k, e) in kept], rank


def plan(kept, slot_of, slots, experts, tile):
    """Rows by expert, then token, then slot; each expert's rows are padded to whole tiles."""
    offsets, rows = [0], []
    inverse = np.full(slots, -1, np.int32)
    counts = [0] * experts
    for e in range(experts):
        for t, k, x in kept:
            if x == e:
                inverse[slot_of[t, k]] = len(rows)
                rows.append(slot_of[t, k])
                counts[e] += 1
        rows += [-1] * (-len(rows) % tile)
        offsets.append(len(rows))
    as_int = lambda values: np.array(values, np.int32)
    return as_int(counts), as_int(offsets), as_int(rows), inverse


# --- the whole --------------------------------------------------------------------------------------------------------

def route(o, hidden=None, gate=None, logits=None, bias=None, delta=None):
    """`delta` replaces the computed affinities: everything after them is then exact."""
    source = logits if logits is not None else hidden
    computed = affinities(o, hidden, gate, logits).astype(np.float32).astype(np.float64)
    delta = computed if delta is None else np.minimum(delta.astype(np.float64), LARGEST)
    tokens, experts = delta.shape
    hidden_size = o.hidden_size if logits is not None else source.shape[1]
    bias = None if bias is None else np.minimum(bias.astype(np.float32), np.float32(LARGEST))
    choosable = ~np.isnan(delta) & ~np.isneginf(delta)
    ambiguous = set()
    ids, weights = token_choice(o, delta, choosable, bias, ambiguous)
    chosen = [float(delta[t, e]) for t in range(tokens) for e in ids[t] if e >= 0]
    delta_max = max(chosen, default=-math.inf)
    shape = delta.shape
    everyone = [delta[choosable[:, e], e] for e in range(experts)]
    side = capacities(o, shape, hidden_size, delta_max, everyone, ambiguous)
    pairs = merged(o, ids, delta, choosable, side)
    members = [[delta[t, e] for t, row in enumerate(pairs) for _, e in row if e == x] for x in range(experts)]
    capacity = capacities(o, shape, hidden_size, delta_max, members, ambiguous)
    if o.shared_capacity:
        capacity = [max(capacity)] * experts
    kept, rank = cut(o, pairs, delta, capacity)

    ragged = o.merge in ("union", "expert-only")
    if ragged:
        slot_of = {(t, k): n for n, (t, k, _) in enumerate(kept)}
        slots = len(kept)
    else:
        slot_of = {(t, k): t * o.top_k + k for t in range(tokens) for k in range(o.top_k)}
        slots = tokens * o.top_k
    counts, offsets, rows, inverse = plan(kept, slot_of, slots, experts, o.tile)
    positive = lambda triples: sum(max(float(delta[t, e]), 0.0) for t, _, e in triples)
    everything = [(t, k, e) for t, row in enumerate(pairs) for k, e in row]
    arrays = {"topk_ids": ids, "topk_weights": weights.astype(np.float32), "tokens_per_expert": counts,
              "expert_offsets": offsets, "sorted_token_ids": rows,
              "inverse": inverse if ragged else inverse.reshape(tokens, o.top_k)}
    if ragged:
        arrays["assignments"] = np.array([(t, e, rank[t, k, e]) for t, k, e in kept], np.int32).reshape(-1, 3)
    else:
        arrays["kept_ids"] = np.full((tokens, o.top_k), -1, np.int32)
        for t, k, e in kept:
            arrays["kept_ids"][t, k] = e
    if o.write_scores:
        arrays["scores"] = computed.astype(np.float32)
    per_expert = o.capacity.startswith("mass") and not o.shared_capacity
    total = positive(everything)
    summary = {
        "tokens": tokens, "experts": experts, "top_k": o.top_k, "assigned": len(everything), "kept": len(kept),
        "cut_share": 1 - len(kept) / len(everything) if everything else 0.0,
        "max_over_mean_load": float(counts.max() / counts.mean()) if kept else 0.0,
        "kept_mass": positive(kept) / total if total > 0 else 1.0,
        "delta_max": delta_max if chosen else None,
        "capacity": capacity if per_expert else capacity[0], "seconds": {}}
    return types.SimpleNamespace(arrays=arrays, summary=summary, ambiguous=ambiguous)


def main():
    o = parser().parse_args()
    load = lambda path: None if path is None else np.load(path)
    result = route(o, load(o.hidden), load(o.gate), load(o.logits), load(o.bias))
    if o.out:
        pathlib.Path(o.out).mkdir(parents=True, exist_ok=True)
        for name, values in result.arrays.items():
            np.save(pathlib.Path(o.out) / (name + ".npy"), values)
    text = json.dumps(result.summary, indent=2)
    if o.json:
        pathlib.Path(o.json).write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
