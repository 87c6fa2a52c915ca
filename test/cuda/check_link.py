#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Two CUDA units with different architecture lists and a plain C++ unit make one program, in which each CUDA unit has
kept its own launcher: sharing one would launch a kernel that holds no code for the other unit's devices.

  check_link.py --nvcc NVCC --cxx CXX --include DIR --work DIR
"""
import argparse
import pathlib
import re
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ARCH_LISTS = {"first": ["80"], "second": ["90", "120"]}


def call(command):
    done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False)
    if done.returncode != 0:
        sys.exit("$ " + " ".join(map(str, command)) + "\n" + done.stdout)
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--nvcc", "--cxx", "--include", "--work"):
        parser.add_argument(name, required=True)
    options = parser.parse_args()
    work = pathlib.Path(options.work)
    work.mkdir(parents=True, exist_ok=True)
    flags = ["-std=c++17", f"-I{options.include}"]
    nvcc = [options.nvcc, "-ccbin", options.cxx]
    objects = []
    for unit, arches in ARCH_LISTS.items():
        objects.append(work / f"{unit}.o")
        codes = [part for arch in arches for part in ("-gencode", f"arch=compute_{arch},code=sm_{arch}")]
        call(nvcc + flags + codes + ["-c", HERE / f"arch_lists/{unit}.cu", "-o", objects[-1]])
    objects.append(work / "main.o")
    call([options.cxx] + flags + ["-c", HERE / "arch_lists/main.cpp", "-o", objects[-1]])
    program = work / "arch_lists"
    call(nvcc + ["-o", program] + objects)

    symbols = call(["nm", "-C", program])
    launchers = sorted(set(re.findall(r"(\S+::device_scale<float>)\(", symbols)))
    print("\n".join(launchers))
    if len(launchers) != len(ARCH_LISTS):
        sys.exit(f"{len(ARCH_LISTS)} units with different architecture lists share {len(launchers)} launcher(s)")
    call([program])  # an empty matrix: runs without a device, launches nothing
    return 0


if __name__ == "__main__":
    sys.exit(main())
