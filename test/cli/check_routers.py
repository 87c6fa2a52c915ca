#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every router that resonance-route lists.

    check_routers.py RESONANCE_ROUTE GOLDEN_FOLDER

Routers of models are held to what the transformers package recorded, the others to NumPy or to the same composition
spelled out by options, which check_route.py holds to NumPy. A listed router without a case is a failure.
"""
import argparse
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

GOLDEN = {"mixtral": "mixtral", "qwen3-moe": "qwen3_moe", "qwen3-next": "qwen3_next", "olmoe": "olmoe",
          "phi3.5-moe": "phimoe", "dbrx": "dbrx", "deepseek-v2": "deepseek_v2", "deepseek-v3": "deepseek_v3",
          "kimi-k2": "kimi_k2", "glm-4.5": "glm4_moe", "minimax-m2": "minimax_m2", "nemotron-3": "nemotron_h",
          "gpt-oss": "gpt_oss", "llama4": "llama4", "sinkhorn": "sinkhorn"}
TOP_2 = ["--merge", "token-only", "--top-k", "2", "--renormalize"]
SPELLED = {
    "switch": ["--merge", "token-only", "--top-k", "1", "--capacity", "factor:1.25", "--drop", "position"],
    "gshard": [*TOP_2, "--capacity", "factor:1", "--drop", "slot-major"],
    "v-moe": ["--as-probabilities", "--score", "identity", "--merge", "token-only", "--top-k", "2", "--capacity",
              "factor:1.05", "--drop", "slot-major-prioritized"],
    "expert-choice": ["--as-probabilities", "--score", "identity", "--merge", "expert-only", "--top-k", "1",
                      "--capacity", "factor:2"],
    "locmoe": ["--metric", "grap-mean", "--score", "relu-softmax", "--merge", "token-only", "--top-k", "1",
               "--capacity", "factor:1.1", "--drop", "position"],
    "etr": ["--metric", "grap", "--top-k", "1", "--capacity", "mass:0.76"],
    "etr-bound": ["--metric", "grap", "--top-k", "1", "--capacity", "bound"],
    "etr-baseline": ["--metric", "grap", "--top-k", "1", "--capacity", "factor:1.1", "--drop", "position"],
    "scmoe-strong": TOP_2,
    "exflow": ["--merge", "token-only", "--top-k", "1"],
    "moe++": ["--merge", "token-only", "--top-k", "2", "--capacity", "heterogeneous:1.1,0.75", "--drop", "position"],
}
FROM_HIDDEN = {"locmoe", "etr", "etr-bound", "etr-baseline"}
BESIDE = {"moe++": ["--full-experts", "5"]}
FILES = ("topk_ids", "topk_weights", "kept_ids", "kept_weights", "assignments", "sorted_token_ids", "expert_offsets")


class Program:
    def __init__(self, path, folder):
        self.path, self.folder, self.runs = path, folder, 0

    def file(self, name, array):
        path = self.folder / f"{name}.npy"
        np.save(path, np.ascontiguousarray(array))
        return str(path)

    def __call__(self, *options):
        """The arrays of a run, or the line of its error."""
        self.runs += 1
        out = self.folder / f"out{self.runs}"
        ran = subprocess.run([self.path, *options, "--out", str(out), "--json", str(self.folder / "summary.json")],
                             capture_output=True, text=True, check=False)
        if ran.returncode != 0:
            return ran.stderr
        return {name: np.load(out / f"{name}.npy") for name in FILES if (out / f"{name}.npy").exists()}


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x.astype(np.float64)))


def softmax(x):
    e = np.exp(x.astype(np.float64) - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def same(found, wanted):
    return (isinstance(found, dict) and isinstance(wanted, dict) and found.keys() == wanted.keys()
            and all(np.array_equal(found[name], wanted[name]) for name in found))


def by_weight(ids, weights):
    order = np.argsort(-weights, axis=1, kind="stable")
    return np.take_along_axis(ids, order, 1), np.take_along_axis(weights, order, 1)


def is_golden(program, golden, name):
    recorded = {kind: golden / f"{GOLDEN[name]}.{kind}.npy" for kind in ("logits", "bias", "ids", "weights")}
    bias = ["--bias", str(recorded["bias"])] if recorded["bias"].exists() else []
    got = program("--router", name, "--logits", str(recorded["logits"]), *bias)
    ids, weights = by_weight(got["kept_ids"], got["kept_weights"])
    return (np.array_equal(ids, np.load(recorded["ids"])) and
            np.allclose(weights, np.load(recorded["weights"]), rtol=1e-6, atol=0))


def is_spelled_out(program, rng, name):
    if name in FROM_HIDDEN:
        source = ["--hidden", program.file("hidden", rng.normal(0, 1, (60, 64)).astype(np.float32)), "--experts", "8"]
    else:
        source = ["--logits", program.file("logits", rng.normal(0, 1, (60, 8)).astype(np.float32))]
    beside = BESIDE.get(name, [])
    return same(program("--router", name, *source, *beside), program(*SPELLED[name], *source, *beside))


def gives_up_choices(program, rng, rule, kept):
    logits = rng.normal(0, 1, (60, 8)).astype(np.float32)
    protected = (rng.random(60) < 0.2).astype(np.uint8)
    got = program("--router", "mc" if rule.startswith("ratio") else "adapmoe", "--prune-choices", rule, "--logits",
                  program.file("logits", logits), "--protected", program.file("protected", protected))
    best = np.argsort(-logits, axis=1, kind="stable")[:, :2]
    weights = softmax(np.take_along_axis(logits, best, 1))
    gone = ~kept(weights[:, 1], weights[:, 0]) & (protected == 0)
    ids, wanted = best.copy(), weights.copy()
    ids[gone, 1], wanted[gone, 1], wanted[gone, 0] = -1, 0, 1
    return gone.any() and not gone.all() and np.array_equal(got["kept_ids"], ids) and np.allclose(
        got["kept_weights"], wanted, rtol=1e-5)


def mc(program, rng):
    return gives_up_choices(program, rng, "ratio:0.4", lambda second, first: second / first >= 0.4)


def adapmoe(program, rng):
    return gives_up_choices(program, rng, "sensitivity:0.005,0.05", lambda second, _: second >= np.sqrt(0.1))


def scmoe_weak(program, rng):
    logits = rng.normal(0, 1, (60, 8)).astype(np.float32)
    got = program("--router", "scmoe-weak", "--logits", program.file("logits", logits))
    return (np.array_equal(got["kept_ids"], np.argsort(-logits, axis=1, kind="stable")[:, 1:2])
            and np.all(got["kept_weights"] == 1))


def moma(program, rng):
    logits = rng.normal(0, 1, (60, 8)).astype(np.float32)
    of_token = rng.integers(0, 2, 60).astype(np.int32)
    of_expert = np.array([0, 0, 0, 1, 1, 1, 1, 1], np.int32)
    got = program("--router", "moma", "--logits", program.file("logits", logits), "--modalities",
                  program.file("modalities", of_token), "--expert-modalities", program.file("experts", of_expert))
    wanted = set()
    for expert, modality in enumerate(of_expert):
        tokens = np.flatnonzero(of_token == modality)
        count = -(-len(tokens) // np.count_nonzero(of_expert == modality))
        best = tokens[np.argsort(-logits[tokens, expert], kind="stable")[:count]]
        wanted |= {(token, expert) for token in best}
    pairs = got["assignments"][:, :2]
    return ({tuple(pair) for pair in pairs} == wanted and len(pairs) == len(wanted)
            and np.allclose(got["kept_weights"], sigmoid(logits[pairs[:, 0], pairs[:, 1]]), rtol=1e-5))


def moma_causal(program, rng):
    logits = rng.normal(0, 1, (60, 8)).astype(np.float32)
    got = program("--router", "moma-causal", "--logits", program.file("logits", logits))["kept_ids"]
    return all(set(row[row >= 0]) == set(np.flatnonzero(x > 0)) for row, x in zip(got, logits))


def mixture_of_depths(program, rng):
    logits = rng.normal(0, 1, (60, 1)).astype(np.float32)
    got = program("--router", "mixture-of-depths", "--logits", program.file("logits", logits))["assignments"]
    return set(got[:, 0]) == set(np.argsort(-logits[:, 0], kind="stable")[:15])


def mor1e(program, rng):
    logits = rng.normal(0, 1, (20, 32)).astype(np.float32)
    prior = rng.normal(0, 1, (3, 32)).astype(np.float32)
    sequences = rng.integers(0, 3, 20).astype(np.int32)
    got = program("--router", "mor1e", "--logits", program.file("logits", logits), "--prior",
                  program.file("prior", prior), "--sequences", program.file("sequences", sequences))
    gate = np.zeros((20, 32))
    np.put_along_axis(gate, got["kept_ids"], got["kept_weights"].astype(np.float64), 1)
    return np.allclose(gate, 16 * softmax(logits) + 2 * prior[sequences], rtol=1e-5, atol=1e-6)


OTHERS = {"mc": mc, "adapmoe": adapmoe, "scmoe-weak": scmoe_weak, "moma": moma, "moma-causal": moma_causal,
          "mixture-of-depths": mixture_of_depths, "mor1e": mor1e}


def refusals(program, rng):
    """Options -> what the one line of the error names."""
    logits = ["--logits", program.file("logits", rng.normal(0, 1, (6, 8)).astype(np.float32))]
    bias = program.file("bias", np.zeros(8, np.float32))
    return {
        ("--router", "mixtrall", *logits): "--router: there is no router 'mixtrall'",
        ("--router", "mixtral", "--score", "sigmoid", *logits): "--router excludes --score",
        ("--router", "mixtral", "--capacity", "fixed:1", *logits): "--router excludes --capacity",
        ("--router", "mixtral", "--top-k", "9", *logits): "--top-k: 9 choices per token exceed the 8 experts",
        ("--router", "mixtral"): "give --hidden or --logits",
        ("--router", "etr", *logits): "--metric grap: needs --hidden",
        ("--router", "moma", *logits): "--router moma: needs --modalities and --expert-modalities",
        ("--router", "mc", *logits): "--router mc: needs --prune-choices",
        ("--router", "mor1e", *logits): "--router mor1e: needs --prior and --sequences",
        ("--router", "moe++", *logits): "--router moe++: needs --full-experts",
        ("--router", "moe++", "--full-experts", "9", *logits): "--full-experts: 9 exceed the 8 experts",
        ("--router", "sinkhorn", "--bias", bias, *logits): "--router sinkhorn: makes its own --bias",
        ("--prune-choices", "half", *logits): "--prune-choices: want ratio:MU or sensitivity:T,S",
        ("--prune-choices", "ratio:-1", *logits): "--prune-choices ratio",
        ("--protected", bias, *logits): "--protected: needs --prune-choices",
        ("--capacity", "heterogeneous:1,1", *logits): "--capacity heterogeneous: needs --full-experts",
        ("--sinkhorn", "0", *logits): "--sinkhorn",
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("golden", type=pathlib.Path)
    arguments = parser.parse_args()
    listed = subprocess.run([arguments.program, "--list-routers"], capture_output=True, text=True, check=True).stdout
    names = [line.split()[0] for line in listed.splitlines()]
    rng = np.random.default_rng(5)
    faults = [f"{name}: has a case, but is not listed" for name in (GOLDEN | SPELLED | OTHERS) if name not in names]
    with tempfile.TemporaryDirectory() as folder:
        program = Program(arguments.program, pathlib.Path(folder))
        for name in names:
            if name in GOLDEN:
                good = is_golden(program, arguments.golden, name)
            elif name in SPELLED:
                good = is_spelled_out(program, rng, name)
            else:
                good = name in OTHERS and OTHERS[name](program, rng)
            faults += [] if good else [f"{name}: not what it has to be"]
        for options, text in refusals(program, rng).items():
            answer = program(*options)
            if not isinstance(answer, str) or text not in answer or len(answer.splitlines()) != 1:
                faults.append(f"{' '.join(options[:3])}: want '{text}', got {answer!r}")
    print(*faults, f"{len(names)} routers, {len(faults)} faults", sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
