#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Is the catalogue's table in the README the catalogue?

Every function and type of include/resonance/catalogue is in the table (helpers beside a router by its header's other
names), is named by a test of test/catalogue, and takes 60 lines at most; every name of the table is in the headers.
--self-test shows that each of these is noticed.
"""
import argparse
import pathlib
import re
import sys

MOST_LINES = 60
# What a line of the table stands for, beside its own name.
BESIDE = re.compile(r"^(adapmoe|mc|exflow|moe_plus_plus)_\w+$")
SHARED = {"softmax_top_k", "sigmoid_top_k"}  # parts of several models


def compositions(text):
    """Name -> lines of its definition, for every function and type of namespace catalogue."""
    found = {}
    lines = text.splitlines()
    for start, line in enumerate(lines):
        match = (re.match(r"^struct (\w+) \{", line) or
                 re.match(r"^(?:inline |constexpr )*\w[\w:<>, ]*[ >](\w+)\(", line))
        if not match or line.startswith(("using", "template", "//", "#", "RESONANCE")):
            continue
        end = start  # of a definition on one line; else its brace stands at the margin
        if not line.endswith("}"):
            while lines[end] not in ("}", "};"):
                end += 1
        found[match.group(1)] = end - start + 1
    return found


def faults(headers, readme, tests):
    table = readme.split("## The catalogue\n")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| ") and "---" not in line]
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    known = {}
    for header in headers:
        known.update(compositions(header))
    for name, lines in known.items():
        if lines > MOST_LINES:
            yield f"{name} takes {lines} lines, more than {MOST_LINES}"
        if name not in listed and name not in SHARED and not BESIDE.match(name):
            yield f"{name} is not in the README's table"
        if not re.search(rf"\bcatalogue::{name}\b", tests) and name not in SHARED:
            yield f"{name} is named by no test of test/catalogue"
    for name in listed - known.keys():
        yield f"{name} is in the README's table, but not in include/resonance/catalogue"
    for row in rows[1:]:
        if len(table.split(f"|{row}|")[1].split("\n")[0].split("|")) != 4:
            yield f"{row.strip()}: want router, policies, source, oracle"


def self_test(headers, readme, tests):
    long_body = "inline auto endless() {\n" + "  f();\n" * MOST_LINES + "}\n"
    spoilt = {
        "endless is not in the README's table": ([*headers, "inline auto endless() { return 1; }\n"], readme, tests),
        "endless takes 62 lines": ([*headers, long_body], readme, tests),
        "mixtral is named by no test": (headers, readme, tests.replace("mixtral", "other")),
        "olmoe is in the README's table, but not": ([h.replace("olmoe", "other") for h in headers], readme, tests),
        "want router, policies": (headers, readme.replace("| `olmoe` 8 of 64 | `softmax`, `top_k` |",
                                                          "| `olmoe` 8 of 64 |"), tests),
    }
    for text, arguments in spoilt.items():
        if not any(text in fault for fault in faults(*arguments)):
            yield f"not noticed: {text}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    root = pathlib.Path(__file__).resolve().parents[2]
    headers = [path.read_text() for path in sorted((root / "include/resonance/catalogue").glob("*.hpp"))]
    tests = "".join(path.read_text() for path in sorted((root / "test/catalogue").glob("*.?pp")))
    readme = (root / "README.md").read_text()
    found = list((self_test if arguments.self_test else faults)(headers, readme, tests))
    print(*found, f"{sum(len(compositions(h)) for h in headers)} compositions, {len(found)} faults", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
