#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A device header alone: included twice in an otherwise empty unit, compiled by nvcc, warnings being errors; and the
processor time that took, against a budget.

  check_header.py one HEADER --work DIR --nvcc NVCC --include DIR   HEADER as in #include <HEADER>
  check_header.py table HEADER... --work DIR                        the times that their checks took
"""
import argparse
import json
import pathlib
import resource
import subprocess
import sys

BUDGET_SECONDS = 20.0  # of processor time per header; CUDA's own headers take one to two


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["one", "table"])
    parser.add_argument("headers", nargs="+")
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--nvcc", default="nvcc")
    parser.add_argument("--ccbin", default="")
    parser.add_argument("--include", action="append", default=[])
    parser.add_argument("--arch", default="80")
    parser.add_argument("--budget", type=float, default=BUDGET_SECONDS)
    return parser.parse_args()


def stem_of(header):
    return header.replace("/", "__").replace(".", "_")


def check_one(options):
    header = options.headers[0]
    stem = stem_of(header)
    options.work.mkdir(parents=True, exist_ok=True)
    unit = options.work / f"{stem}.cu"
    unit.write_text(f"#include <{header}>\n#include <{header}>\n")
    command = [options.nvcc, "-std=c++17", "-c", unit, "-o", options.work / f"{stem}.o", f"-arch=sm_{options.arch}",
               "-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra,-Werror"]
    command += [f"-I{folder}" for folder in options.include]
    command += ["-ccbin", options.ccbin] if options.ccbin else []
    done = subprocess.run([str(part) for part in command], check=False)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = used.ru_utime + used.ru_stime
    (options.work / f"{stem}.json").write_text(json.dumps(seconds))
    if done.returncode != 0:
        print("$ " + " ".join(map(str, command)))
        return 1
    print(f"{seconds:.1f} s of processor time, budget {options.budget:.0f} s")
    if seconds > options.budget:
        print(f"over budget: {header} takes {seconds:.1f} s")
        return 1
    return 0


def print_table(options):
    times = {}
    for header in options.headers:
        file = options.work / f"{stem_of(header)}.json"
        if not file.exists():
            sys.exit(f"check_header: {header} has not been checked")
        times[header] = json.loads(file.read_text())
    print(f"processor time of nvcc per header, one architecture (budget {options.budget:.0f} s)")
    for header, seconds in sorted(times.items(), key=lambda entry: -entry[1]):
        print(f"{seconds:7.1f} s  {header}")
    return 0


if __name__ == "__main__":
    given = parse_arguments()
    sys.exit(check_one(given) if given.step == "one" else print_table(given))
