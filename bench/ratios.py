#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints a Markdown table from the JSON of benchmark runs: naive time over the stage's, and the share of the copy."""

import json
import statistics
import sys


def samples(paths):
    """name -> ([seconds], [share of copy]) over the repetitions."""
    found = {}
    for path in paths:
        with open(path, encoding="utf-8") as file:
            for run in json.load(file)["benchmarks"]:
                if run["run_type"] != "iteration" or run.get("error_occurred"):
                    continue
                times, shares = found.setdefault(run["run_name"].removesuffix("/real_time"), ([], []))
                times.append(run["real_time"])
                shares.append(run["share_of_copy"])
    return found


def main(paths):
    if not paths:
        sys.exit("usage: ratios.py BENCH.json ...")
    found = samples(paths)
    print("| stage | model, tokens | naive / 1 thread | naive / 2 threads | share of copy, 1 / 2 threads |")
    print("|---|---|---|---|---|")
    for name in sorted(n for n in found if n.startswith("naive_")):
        stage = name.removeprefix("naive_")
        threads = [found.get(f"{stage}/threads:{n}") for n in (1, 2)]
        if None in threads:
            continue
        naive = statistics.median(found[name][0])
        ratios = [naive / statistics.median(times) for times, _ in threads]
        shares = [statistics.median(share) for _, share in threads]
        kind, model, tokens = stage.rsplit("/", 2)
        cells = [kind, f"{model}, {tokens[2:]}", *(f"{r:.2f}" for r in ratios), f"{shares[0]:.3f} / {shares[1]:.3f}"]
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main(sys.argv[1:])
