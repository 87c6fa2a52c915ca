#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the program resonance-route against the NumPy oracle on random input, then feeds it every bad input.

    check_route.py BINARY [--cases N] [--seed S] [--first I]

Logits are compared end to end. Affinities from hidden states are sums whose last bits depend on the order of
summation: scores.npy must agree with the oracle to 1e-5 (exactly, where the sums are exact), and everything after
it must follow exactly from the affinities that the program itself reports. A failing case prints its command line and
keeps its files; --seed S --cases 1 --first I runs case I alone.
"""
import argparse
import json
import pathlib
import shlex
import shutil
import subprocess
import sys
import tempfile

import numpy as np

import bad_inputs
import route_cases
import route_oracle

TOLERANCE = 1e-5
JSON_KEYS = {"tokens", "experts", "top_k", "assigned", "kept", "cut_share", "max_over_mean_load", "kept_mass",
             "delta_max", "capacity", "seconds"}


class Mismatch(Exception):
    pass


def demand(holds, what):
    if not holds:
        raise Mismatch(what)


def run(command):
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def close(found, wanted):
    return np.allclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)


def compare_array(folder, name, wanted, exact):
    path = folder / (name + ".npy")
    demand(path.exists(), f"{name}.npy is missing")
    found = np.load(path)
    demand(found.dtype == wanted.dtype, f"{name}.npy is {found.dtype}, want {wanted.dtype}")
    demand(found.shape == wanted.shape, f"{name}.npy has shape {found.shape}, want {wanted.shape}")
    if exact:
        wrong = ~((found == wanted) | ((found != found) & (wanted != wanted)))
    else:
        wrong = ~np.isclose(found, wanted, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise Mismatch(f"{name}.npy: {int(wrong.sum())} of {wrong.size} values differ, first at {at}: "
                       f"found {found[at]}, want {wanted[at]}")


def compare_summary(found, wanted):
    demand(JSON_KEYS <= found.keys(), f"JSON lacks {sorted(JSON_KEYS - found.keys())}")
    demand(found["seconds"] and all(s >= 0 for s in found["seconds"].values()), "JSON: no seconds per stage")
    for key in sorted(JSON_KEYS - {"seconds"}):
        right = found[key] == wanted[key]
        if isinstance(wanted[key], float) and found[key] is not None:
            right = close(found[key], wanted[key])
        demand(right, f"JSON {key}: found {found[key]}, want {wanted[key]}")


def check_case(binary, number, seed, folder):
    """The number of draws that were set aside, and the command line that passed or failed."""
    rng = np.random.default_rng([seed, number])
    redrawn = 0
    while True:
        options, arrays, exact = route_cases.draw(rng)
        files = [word for name in arrays for word in ("--" + name, str(folder / (name + ".npy")))]
        o = route_oracle.parser().parse_args(files + options + ["--write-scores"])
        if not route_oracle.route(o, **arrays).ambiguous:
            break
        redrawn += 1
    for name, values in arrays.items():
        np.save(folder / (name + ".npy"), values)
    out, summary = folder / "out", folder / "summary.json"
    command = [binary] + files + options + ["--write-scores", "--out", str(out), "--json", str(summary)]
    try:
        done = run(command)
        demand(done.returncode == 0, f"exit status {done.returncode}: {done.stderr.strip()}")
        demand(done.stderr == "", f"unasked words on stderr: {done.stderr.strip()}")
        demand((out / "scores.npy").exists(), "scores.npy is missing")
        reported = np.load(out / "scores.npy")
        wanted = route_oracle.route(o, **arrays)
        compare_array(out, "scores", wanted.arrays["scores"], exact)
        if not exact:
            wanted = route_oracle.route(o, **arrays, delta=reported)
        # The computed affinities passed; the reported ones can still bring two keys too near to tell.
        if wanted.ambiguous:
            return redrawn + 1, command, None
        for name, values in wanted.arrays.items():
            if name != "scores":
                compare_array(out, name, values, exact=name != "topk_weights")
        for name in {"kept_ids", "assignments"} - wanted.arrays.keys():
            demand(not (out / (name + ".npy")).exists(), f"{name}.npy does not belong to this merge")
        compare_summary(json.loads(summary.read_text()), wanted.summary)
    except (Mismatch, subprocess.TimeoutExpired, ValueError) as fault:
        return redrawn, command, str(fault)
    return redrawn, command, None


def check_refusal(binary, options, folder):
    """What is wrong with the way in which the program refuses these options, or None."""
    out, summary = folder / "out", folder / "summary.json"
    before = sorted(folder.rglob("*"))
    outputs = [w for name, path in (("--out", out), ("--json", summary)) if name not in options for w in (name, path)]
    command = [str(word) for word in [binary] + options + outputs]
    try:
        done = run(command)
    except subprocess.TimeoutExpired as fault:
        return command, str(fault)
    left = [path for path in sorted(folder.rglob("*")) if path not in before and path != out]
    lines = done.stderr.splitlines()
    faults = [(done.returncode == 0, "exit status 0"), (done.returncode < 0, f"killed by signal {-done.returncode}"),
              (len(lines) != 1 or not done.stderr.endswith("\n"), f"{len(lines)} lines on stderr: {done.stderr!r}"),
              (done.stdout != "", f"words on stdout: {done.stdout!r}"), (bool(left), f"left behind: {left}")]
    for path in left:
        path.unlink()
    return command, next((what for wrong, what in faults if wrong), None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    args = parser.parse_args()
    root = pathlib.Path(tempfile.mkdtemp(prefix="check_route_"))
    passed = failed = redrawn = 0

    def count(what, command, fault):
        nonlocal passed, failed
        passed += fault is None
        failed += fault is not None
        if fault is not None:
            print(f"FAILED {what}: {fault}\n  {shlex.join(command)}", flush=True)

    print(f"seed {args.seed}, cases {args.first} to {args.first + args.cases - 1}", flush=True)
    for number in range(args.first, args.first + args.cases):
        folder = root / f"case_{number}"
        folder.mkdir()
        again, command, fault = check_case(args.binary, number, args.seed, folder)
        redrawn += again
        count(f"case {number} of seed {args.seed}", command, fault)
        if fault is None:
            shutil.rmtree(folder)
    bad = root / "bad"
    bad.mkdir()
    bad_inputs.write_files(bad)
    for what, options in bad_inputs.command_lines(bad):
        count(f"bad input ({what})", *check_refusal(args.binary, options, bad))
    if failed == 0:
        shutil.rmtree(root)
    else:
        print(f"the files are in {root}")
    print(f"{redrawn} random inputs redrawn: their answer hangs on the last bits of a score function")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
