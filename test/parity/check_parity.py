#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Is everything that the host has on the device, too, and tested there?

Reads from the headers every stage function of the host and every policy, finds the device function for each and a test
under test/simt that names it, and compares the table of them with the one in ARCHITECTURE.md. Exits 1 if something is
missing or the table is not this one. --write puts the table there; --self-test shows that each omission is noticed.
"""
import argparse
import difflib
import pathlib
import re
import shutil
import sys
import tempfile

BEGIN, END = "<!-- parity -->\n", "<!-- /parity -->"
# Kind of policy -> the device functions that take it.
TAKEN_BY = {
    "affinity": ("metric", ["device_affinity", "device_token_choice"]),
    "score": ("score function", ["device_token_choice", "device_scores", "device_weights"]),
    "token_choice": ("token choice", ["device_token_choice"]),
    "merge": ("merge", ["device_merge"]),
    "capacity": ("capacity rule", ["device_prune", "device_expert_capacities"]),
    "drop_order": ("drop order", ["device_prune"]),
    "choice_rule": ("choice rule", ["device_prune_choices"]),
}
# Tests call the route through the router's backend, which the header declares.
NAMED_AS = {"device_route": r"device_route\.cuh"}


def functions(include, prefix):
    """Name without the prefix -> (header, number of overloads)."""
    found = {}
    for header in sorted(include.glob(f"*/{prefix}_*")):
        for name in re.findall(rf"^(?:inline )?status {prefix}_(\w+)\(", header.read_text(), re.M):
            overloads = found.get(name, (header, 0))[1] + 1
            found[name] = (header, overloads)
    return found


def policies(include):
    """(stage, room, name), in the order of the headers; a policy may inherit its stage."""
    found = []
    for header in sorted(include.glob("*/*.hpp")):
        stage_of = {}
        text = header.read_text()
        for match in re.finditer(r"^struct (\w+)(?: : (\w+)(?:<\w+>)?)? \{(\};|\n.*?^\};)", text, re.M | re.S):
            name, base, body = match.groups()
            stage = re.search(r"^  using stage = stages::(\w+);", body, re.M)
            stage = stage.group(1) if stage else stage_of.get(base)
            if stage:
                stage_of[name] = stage
                is_base = re.search(rf"^template <class \w+>\nstruct {name}\b", text, re.M)
                if not is_base:
                    found.append((stage, header.parent.name, name))
    return found


def table(root):
    """The lines of the table, and what is missing."""
    include, tests = root / "include/resonance", root / "test/simt"
    problems, rows = [], []
    # What is refused proves nothing of what is done.
    texts = {path: path.read_text() for path in sorted(tests.glob("*/*_test.cpp"))
             if not path.name.endswith("_errors_test.cpp")}
    if not texts:
        problems.append("test/simt has no tests")

    def test_of(pattern, room, what, rooms=None):
        naming = [path for path, text in texts.items() if re.search(pattern, text)]
        naming = [path for path in naming if not rooms or path.parent.name in rooms]
        # The stage's own test first, that of its device function before those of smaller scopes.
        naming.sort(key=lambda path: (path.parent.name != room, not path.name.startswith("device_")))
        if not naming:
            problems.append(f"no test under test/simt names {what}")
            return "-"
        return f"`{naming[0].relative_to(root).as_posix()}`"

    host, device = functions(include, "host"), functions(include, "device")
    if not host:
        problems.append("no stage function of the host found")
    for name, (header, overloads) in host.items():
        ours = device.get(name, (None, 0))
        if ours[1] < overloads:
            problems.append(f"host_{name} has {overloads} overload(s), device_{name} {ours[1]}")
        where = f"`{ours[0].relative_to(include).as_posix()}`" if ours[0] else "-"
        call = NAMED_AS.get(f"device_{name}", rf"device_{name}\(")
        test = test_of(rf"\b{call}", header.parent.name, f"device_{name}", [header.parent.name])
        rows.append(f"| stage | `host_{name}` | `device_{name}`, {where} | {test} |")
    order = list(TAKEN_BY)
    all_policies = policies(include)
    for stage in order:
        if not any(kind == stage for kind, _, _ in all_policies):
            problems.append(f"no policy of stage {stage} found")
    for stage, room, name in sorted(all_policies, key=lambda policy: order.index(policy[0])):
        kind, takers = TAKEN_BY[stage]
        for taker in takers:
            if taker.removeprefix("device_") not in device:
                problems.append(f"{room}::{name} has no {taker} that takes it")
        taker_text = ", ".join(f"`{taker}`" for taker in takers)
        takers_room = device.get(takers[0].removeprefix("device_"), (include / room / "-",))[0].parent.name
        test = test_of(rf"\b{room}::{name}\b", takers_room, f"{room}::{name}")
        rows.append(f"| {kind} | `{room}::{name}` | {taker_text} | {test} |")
    return ["| kind | on the host | on the device | shown by |", "|---|---|---|---|", *rows], problems


def check(root, write=False):
    lines, problems = table(root)
    page = root / "ARCHITECTURE.md"
    text = page.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        return [*problems, f"ARCHITECTURE.md has no single pair of {BEGIN.strip()} and {END}"]
    before, rest = text.split(BEGIN)
    there, after = rest.split(END)
    wanted = "\n".join(lines) + "\n"
    if write:
        page.write_text(before + BEGIN + wanted + END + after)
    elif there != wanted:
        difference = difflib.unified_diff(there.splitlines(), lines, "ARCHITECTURE.md", "headers and tests", "", "", 0)
        problems.append("the table is not up to date (check_parity.py --write):\n  " + "\n  ".join(difference))
    return problems


def self_test(root):
    """Breaks a copy in every way that has to be noticed."""

    def replaced(path, old, new):
        def spoil(copy):
            text = (copy / path).read_text()
            if old not in text:
                raise SystemExit(f"self-test: {old!r} is not in {path}")
            (copy / path).write_text(text.replace(old, new))

        return spoil

    def no_test_names(word):
        def spoil(copy):
            for path in copy.glob("test/simt/*/*_test.cpp"):
                path.write_text(path.read_text().replace(word, "something::else"))

        return spoil

    inc = "include/resonance/"
    new_policy = "struct newest {\n  using stage = stages::merge;\n};\n}  // namespace merge"
    new_heir = "struct heir : restricted {};\n}  // namespace merge"
    over_candidates = "(const device_stream& on, const assignment_view"
    other_overload = (f"status device_expert_choice{over_candidates}", f"status something{over_candidates}")
    faults = {
        "a device function is missing": (
            replaced(inc + "plan/device_plan.cuh", "status device_plan(", "status plan_it("), "device_plan 0"),
        "one overload is missing": (
            replaced(inc + "expert_choice/device_expert_choice.cuh", *other_overload),
            "host_expert_choice has 2 overload(s), device_expert_choice 1"),
        "a policy is new": (
            replaced(inc + "merge/policies.hpp", "}  // namespace merge", new_policy), "names merge::newest"),
        "a policy that inherits is new": (
            replaced(inc + "merge/policies.hpp", "}  // namespace merge", new_heir), "names merge::heir"),
        "no test names a policy": (no_test_names("prune::batch_prioritized"), "names prune::batch_prioritized"),
        "no test calls a stage": (no_test_names("device_unpermute("), "names device_unpermute"),
        "a row is missing": (replaced("ARCHITECTURE.md", "| stage | `host_merge` |", "| gone |"), "not up to date"),
        "the table is gone": (replaced("ARCHITECTURE.md", END, ""), "no single pair"),
    }
    failed = 0
    for name, (spoil, notice) in faults.items():
        with tempfile.TemporaryDirectory() as folder:
            copy = pathlib.Path(folder)
            shutil.copytree(root / "include", copy / "include")
            shutil.copytree(root / "test/simt", copy / "test/simt")
            shutil.copy(root / "ARCHITECTURE.md", copy)
            spoil(copy)
            noticed = any(notice in problem for problem in check(copy))
        print(f"{'noticed' if noticed else 'MISSED'}: {name}")
        failed += not noticed
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2])
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--write", action="store_true", help="put the table into ARCHITECTURE.md")
    mode.add_argument("--self-test", action="store_true", help="show that each omission is noticed")
    args = parser.parse_args()
    if args.self_test:
        return 1 if self_test(args.root) else 0
    problems = check(args.root, args.write)
    for problem in problems:
        print(f"parity: {problem}", file=sys.stderr)
    if not problems:
        print(f"parity: {len(table(args.root)[0]) - 2} stages and policies of the host are on the device, with tests")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
