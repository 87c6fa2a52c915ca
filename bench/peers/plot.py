#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Draws the results of compare.py: how many times as fast as the best peer, and the share of the floor's speed.

    plot.py RESULTS.json PICTURE.svg
"""
import json
import sys


def draw(results, path):
    # Only those who want a picture need matplotlib.
    import matplotlib
    matplotlib.use("svg")
    matplotlib.rcParams["svg.fonttype"] = "none"
    matplotlib.rcParams["svg.hashsalt"] = "compare"
    from matplotlib import pyplot
    counts = list(dict.fromkeys(r["threads"] for r in results))
    labels = list(dict.fromkeys(f"{r['stage']}, {r['case']}" for r in results))
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 0.34 * len(labels) + 1.4), sharey=True)
    height = 0.8 / len(counts)
    for i, threads in enumerate(counts):
        rows = [r for r in results if r["threads"] == threads]
        places = [labels.index(f"{r['stage']}, {r['case']}") + height * (i - (len(counts) - 1) / 2) for r in rows]
        name = f"{threads} thread" + ("s" if threads > 1 else "")
        left.barh(places, [r["times_faster"] for r in rows], height, color=f"C{i}", label=name)
        with_floor = [(p, 1 / r["times_the_floor"]) for p, r in zip(places, rows) if r["times_the_floor"]]
        right.barh([p for p, _ in with_floor], [100 * share for _, share in with_floor], height, color=f"C{i}")
    left.set_xscale("log")
    left.set_xticks([1, 2, 5, 10, 20, 50], labels=["1", "2", "5", "10", "20", "50"])
    left.minorticks_off()
    left.axvline(1, color="black", linewidth=0.8)
    left.set_xlabel("times as fast as the faster of\ntorch and ONNX Runtime")
    right.axvline(100, color="black", linewidth=0.8)
    right.set_xlabel("share of the floor's speed, %\n(the same bytes, and nothing else)")
    left.set_yticks(range(len(labels)), labels=labels)
    left.set_ylim(len(labels) - 0.4, -0.6)
    left.legend(loc="lower right")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        draw(json.load(file)["results"], sys.argv[2])
