#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds the library's kernels to their baselines, without a GPU.

  check_kernels.py build SOURCE      every architecture; warnings, spills, local memory are errors
  check_kernels.py compile SOURCE    the same, then the figures of each kernel
  check_kernels.py resources SOURCE  registers, shared memory and occupancy against baselines/sm_XX.json
  check_kernels.py accesses SOURCE   16-byte accesses to global memory against the same
  check_kernels.py coverage          every __global__ function of the headers is named by a source in kernels/
  check_kernels.py --update [STAGE]  compiles every source in kernels/ (or one) and rewrites the baselines

resources and accesses read what compile left behind. Exit code 77: nothing to compare with, the reason is printed.
"""
import argparse
import json
import pathlib
import re
import shutil
import subprocess
import sys

import kernel_report

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
ALL_ARCHES = [75, 80, 90, 100, 120]
REGISTERS_MORE = 8   # than the baseline: what a harmless change of the surroundings costs
LEAST_OCCUPANCY = 75
SKIPPED = 77
FIGURES = {"resources": ("registers", "shared_bytes", "threads", "occupancy"), "accesses": ("loads_128", "stores_128")}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", nargs="?", choices=["build", "compile", "resources", "accesses", "coverage"])
    parser.add_argument("source", nargs="?", type=pathlib.Path)
    parser.add_argument("--update", nargs="?", const="all", metavar="STAGE")
    parser.add_argument("--nvcc", default=shutil.which("nvcc"))
    parser.add_argument("--nvdisasm", default="")
    parser.add_argument("--occupancy", type=pathlib.Path, default=ROOT / "build/cuda/test/cuda/cuda_occupancy")
    parser.add_argument("--include", action="append", type=pathlib.Path)
    parser.add_argument("--ccbin", default="")
    parser.add_argument("--arch", action="append", type=int, dest="arches")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "build/cuda/kernels")
    parser.add_argument("--baselines", type=pathlib.Path, default=HERE / "baselines")
    options = parser.parse_args()
    if not options.update and not (options.step == "coverage" or (options.step and options.source)):
        parser.error("give a step and a source, or --update")
    if not options.nvcc:
        parser.error("no nvcc in PATH; --nvcc says where it is")
    options.include = options.include or [ROOT / "include"]
    options.arches = options.arches or ALL_ARCHES
    return options


def toolkit_release(nvcc):
    text = subprocess.run([nvcc, "--version"], stdout=subprocess.PIPE, text=True, check=True).stdout
    return text.split("release ")[1].split(",")[0]


def build(options, source, threads=1):
    extra = ["--threads", str(threads)] + (["-ccbin", options.ccbin] if options.ccbin else [])
    work = options.work / source.stem
    return kernel_report.compile_source(options.nvcc, source, options.include, options.arches, work, extra)


def compile_step(options, source, threads=1):
    text = build(options, source, threads)
    work = options.work / source.stem
    report = kernel_report.describe(text, source, options.arches, work, options.occupancy, options.nvdisasm)
    if not any(report.values()):
        raise kernel_report.CompileError(f"{source} instantiates no kernel")
    written = {"toolkit": toolkit_release(options.nvcc), "arches": report}
    (work / "report.json").write_text(json.dumps(written, indent=1))
    return written


def print_report(report):
    for arch, kernels in report["arches"].items():
        for name, figures in kernels.items():
            print(f"sm_{arch:<4}" + "".join(f"{key} {value:<6}" for key, value in figures.items()) + name)


def low_occupancies(report, source):
    """Kernels of an occupancy below LEAST_OCCUPANCY that the source gives no reason for."""
    _, excuses = kernel_report.notes_of(source.read_text())
    lowest = {}
    for arch, kernels in report["arches"].items():
        for name, figures in kernels.items():
            kernel = kernel_report.base_name(name)
            if figures["occupancy"] < LEAST_OCCUPANCY and kernel not in excuses:
                lowest[kernel] = min(lowest.get(kernel, (100, "")), (figures["occupancy"], f"on sm_{arch}, {name}"))
    return [f"{kernel}: occupancy {occupancy} % {where}; {LEAST_OCCUPANCY} % or a line "
            f"'// low occupancy: {kernel}: reason' in {source.name}"
            for kernel, (occupancy, where) in sorted(lowest.items())]


def worse(figure, old, new):
    if figure == "registers":
        return new > old + REGISTERS_MORE
    if figure in ("occupancy", "loads_128", "stores_128"):
        return new < old
    return new != old  # shared memory and block size change on purpose only


def differences(arch, found, baseline, figures):
    """What is worse than the baseline, kernel by kernel."""
    faults = [f"sm_{arch} {name}: the baseline has it, the source does not instantiate it"
              for name in sorted(set(baseline) - set(found))]
    for name, new in found.items():
        if name not in baseline:
            faults.append(f"sm_{arch} {name}: not in the baseline")
            continue
        for figure in figures:
            if worse(figure, baseline[name][figure], new[figure]):
                faults.append(f"sm_{arch} {name}: {figure} was {baseline[name][figure]}, is {new[figure]}")
    return faults


def compare_step(options, source, figures):
    report_file = options.work / source.stem / "report.json"
    if not report_file.exists():
        sys.exit(f"check_kernels: compile {source} first")
    report = json.loads(report_file.read_text())
    faults = []
    for arch, kernels in report["arches"].items():
        if any(figure not in entry for entry in kernels.values() for figure in figures):
            print(f"skipped: no nvdisasm was found, and without it nobody sees sm_{arch}'s instructions")
            return SKIPPED
        file = options.baselines / f"sm_{arch}.json"
        baseline = json.loads(file.read_text()) if file.exists() else {"toolkit": report["toolkit"], "kernels": {}}
        if baseline["toolkit"] != report["toolkit"]:
            print(f"skipped: the baselines of sm_{arch} are of CUDA {baseline['toolkit']}, this is {report['toolkit']}")
            return SKIPPED
        faults += differences(arch, kernels, baseline["kernels"].get(source.stem, {}), figures)
    if faults:
        print("\n".join(faults))
        print("If that is meant: test/cuda/check_kernels.py --update " + source.stem)
    return 1 if faults else 0


def kernels_of(text):
    """Names of the __global__ functions in a header."""
    return set(re.findall(r"__global__\s+void\s+(\w+)\s*\(", re.sub(r"__launch_bounds__\s*\((?:[^()]|\([^()]*\))*\)", "", text)))


def coverage_step(options):
    headers = [file for folder in options.include for file in sorted(folder.rglob("*.cuh"))]
    declared = set().union(*(kernels_of(file.read_text()) for file in headers))
    named = set(re.findall(r"\w+", "\n".join(file.read_text() for file in (HERE / "kernels").glob("*.cu"))))
    print(f"{len(declared)} kernels in {len(headers)} headers")
    for name in sorted(declared - named):
        print(f"{name}: no source in test/cuda/kernels builds it")
    return 1 if declared - named or not declared else 0


def update(options):
    if not options.nvdisasm:
        wheels = options.work.parent / "wheels"
        options.nvdisasm = shutil.which("nvdisasm") or next(map(str, wheels.glob("nvidia/cu*/bin/nvdisasm")), "")
    if not options.nvdisasm or not options.occupancy.exists():
        sys.exit("check_kernels: run ./dev cuda once, which brings nvdisasm and builds the occupancy calculator")
    sources = sorted((HERE / "kernels").glob("*.cu"))
    chosen = [source for source in sources if options.update in ("all", source.stem)]
    if not chosen:
        sys.exit(f"check_kernels: there is no kernels/{options.update}.cu")
    reports = {source.stem: compile_step(options, source, threads=2) for source in chosen}
    for arch in map(str, options.arches):
        file = options.baselines / f"sm_{arch}.json"
        baseline = json.loads(file.read_text()) if file.exists() else {"kernels": {}}
        baseline["toolkit"] = toolkit_release(options.nvcc)
        baseline["kernels"].update({stage: report["arches"][arch] for stage, report in reports.items()})
        stems = {source.stem for source in sources}
        baseline["kernels"] = {stage: k for stage, k in sorted(baseline["kernels"].items()) if stage in stems}
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(baseline, indent=1, sort_keys=True) + "\n")
        print(f"wrote {file}")
    return 0


def main():
    options = parse_arguments()
    try:
        if options.update:
            return update(options)
        if options.step == "coverage":
            return coverage_step(options)
        if options.step == "build":
            build(options, options.source)
            return 0
        if options.step != "compile":
            return compare_step(options, options.source, FIGURES[options.step])
        report = compile_step(options, options.source)
        print_report(report)
        faults = low_occupancies(report, options.source)
        for fault in faults:
            print(fault)
        return 1 if faults else 0
    except kernel_report.CompileError as error:
        print(error)
        return 1


if __name__ == "__main__":
    sys.exit(main())
