# SPDX-License-Identifier: Apache-2.0
"""What nvcc made of a source: registers, shared memory, occupancy and wide accesses of each of its kernels."""
import collections
import pathlib
import re
import subprocess

WARNINGS_AS_ERRORS = ["-Werror", "all-warnings", "-Xcompiler", "-Wall,-Wextra,-Werror", "-Xptxas"]
STRICT = "-v,--warning-as-error,--warn-on-spills,--warn-on-local-memory-usage"


class CompileError(Exception):
    """nvcc refused; the text is what it said."""


def run(command, **options):
    return subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          check=False, **options)


def compile_source(nvcc, source, includes, arches, work, extra=()):
    """Compiles for every architecture, warnings, spills and local memory being errors; returns what ptxas reported.
    The cubins and the PTX stay in `work`."""
    work = pathlib.Path(work)
    work.mkdir(parents=True, exist_ok=True)
    for old in work.iterdir():
        if old.is_file():
            old.unlink()
    command = [nvcc, "-std=c++17", "-fatbin", "--keep", "--keep-dir", work, "-o", work / "out.fatbin", *extra]
    command += [pathlib.Path(source).resolve()] + [f"-I{folder}" for folder in includes]
    for arch in arches:
        command += ["-gencode", f"arch=compute_{arch},code=sm_{arch}"]
    command += WARNINGS_AS_ERRORS
    done = run(command + [STRICT], cwd=work)
    if done.returncode != 0:
        # The first architecture with a fault ended the compilation; say how it is on all of them.
        lenient = run(command + ["-v"], cwd=work)
        everywhere = "\n".join(parse_local_memory(lenient.stdout)) if lenient.returncode == 0 else ""
        raise CompileError("$ " + " ".join(map(str, command + [STRICT])) + f"\n{done.stdout}{everywhere}")
    return done.stdout


def parse_local_memory(ptxas_text):
    """["sm_XX kernel: what ptxas -v says of its local memory"] for the kernels that use some."""
    found = []
    for name, arch, use in re.findall(r"'(\S+)' for 'sm_(\d+)'\n.*\n\s*(\d+ bytes stack frame, .*)", ptxas_text):
        if not use.startswith("0 bytes stack frame, 0 bytes spill"):
            found.append((arch, name, use))
    names = demangle({name for _, name, _ in found})
    return [f"sm_{arch} {short_name(names[name])}: {use}" for arch, name, use in found]


def parse_resources(ptxas_text):
    """{arch: {mangled name: {registers, shared_bytes}}} from the output of ptxas -v."""
    found = collections.defaultdict(dict)
    kernel = arch = None
    for line in ptxas_text.splitlines():
        entry = re.search(r"Compiling entry function '(\S+)' for 'sm_(\d+)", line)
        if entry:
            kernel, arch = entry.groups()
        used = re.search(r"Used (\d+) registers", line)
        if used and kernel:
            shared = re.search(r"(\d+) bytes smem", line)
            found[arch][kernel] = {"registers": int(used.group(1)),
                                   "shared_bytes": int(shared.group(1)) if shared else 0}
            kernel = None
    return dict(found)


def parse_block_sizes(ptx):
    """{mangled name: most threads of a block} from __launch_bounds__; kernels without bounds are not in it."""
    sizes = {}
    for entry in re.finditer(r"\.entry\s+([\w$]+)\s*\(.*?\)(.*?)\{", ptx, re.S):
        bound = re.search(r"\.(?:max|req)ntid\s+(\d+)(?:\s*,\s*(\d+))?(?:\s*,\s*(\d+))?", entry.group(2))
        if bound:
            x, y, z = (int(number or 1) for number in bound.groups())
            sizes[entry.group(1)] = x * y * z
    return sizes


def parse_wide_accesses(sass):
    """{mangled name: (loads, stores)} of 16 bytes from and to global memory; one of 32 bytes counts as two."""
    counts = {}
    section = re.compile(r"^//-+ \.text\.(\S+)")
    access = re.compile(r"\b(LDG|STG|LD|ST)\.[A-Z0-9_.]*\b(128|256)\b")
    kernel = None
    for line in sass.splitlines():
        header = section.match(line)
        if header:
            kernel = header.group(1)
            counts[kernel] = [0, 0]
        found = access.search(line)
        if found and kernel:
            counts[kernel][found.group(1).startswith("ST")] += int(found.group(2)) // 128
    return {name: tuple(pair) for name, pair in counts.items()}


def short_name(demangled):
    """The kernel's name without return type, parameters, and the namespaces that every name has."""
    name = demangled.replace("(anonymous namespace)::", "")
    name = re.sub(r"\((?:[a-z_0-9:]+|unsigned \w+|signed char)\)(?=-?\d)", "", name)  # casts of template arguments
    name = re.sub(r"\b(?:resonance|v\d+_\d+_\d+|sm\d+)::", "", name)
    depth = 0
    for i, char in enumerate(name):
        depth += (char == "<") - (char == ">")
        if char == "(" and depth == 0:
            name = name[:i]
            break
    return re.sub(r"> (?=>)", ">", re.sub(r"^void ", "", name).strip())


def demangle(names):
    names = list(names)
    done = subprocess.run(["c++filt"], input="\n".join(names), stdout=subprocess.PIPE, text=True, check=True)
    return dict(zip(names, done.stdout.splitlines()))


def outside_arch_namespace(demangled):
    """Kernels of the library that another architecture list would give the same name."""
    misplaced = []
    for name in demangled:
        own_name = re.split(r"[<(]", re.sub(r"^void ", "", name.replace("(anonymous namespace)::", "")))[0]
        if own_name.startswith("resonance::") and not re.search(r"\bsm\d+::", own_name):
            misplaced.append(name)
    return sorted(misplaced)


def notes_of(source_text):
    """What a source says of its kernels in comments: how they are launched, and why an occupancy is low.
       // launch: NAME threads=128 dynamic_shared=4096      // low occupancy: NAME: reason"""
    launches = {}
    for name, text in re.findall(r"^// launch: (\S+) (.+)$", source_text, re.M):
        launches[name] = {key: int(value) for key, value in re.findall(r"(threads|dynamic_shared)=(\d+)", text)}
    excuses = dict(re.findall(r"^// low occupancy: (\S+): (.+)$", source_text, re.M))
    return launches, excuses


def base_name(short):
    return short.split("<")[0].split("::")[-1]


def occupancies(program, questions):
    """Percentages for (arch, registers, static shared, threads, dynamic shared)."""
    lines = "".join(" ".join(map(str, question)) + "\n" for question in questions)
    done = subprocess.run([program], input=lines, stdout=subprocess.PIPE, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


def kept(work, arch, suffix, only):
    """The intermediate file that nvcc kept for an architecture."""
    files = sorted(pathlib.Path(work).glob(f"*compute_{arch}*.{suffix}"))
    if not files and only:
        files = sorted(pathlib.Path(work).glob(f"*.{suffix}"))
    if len(files) != 1:
        raise CompileError(f"nvcc kept {len(files)} .{suffix} files for {arch} in {work}, not one")
    return files[0]


def describe(ptxas_text, source, arches, work, occupancy, nvdisasm):
    """{arch: {short name: figures}}; loads_128 and stores_128 are left out without a disassembler."""
    launches, _ = notes_of(pathlib.Path(source).read_text())
    resources = parse_resources(ptxas_text)
    report = {}
    for arch in map(str, arches):
        kernels = resources.get(arch, {})
        names = demangle(kernels)
        misplaced = outside_arch_namespace(names.values())
        if misplaced:
            raise CompileError("outside RESONANCE_ARCH_NAMESPACE_BEGIN, so units with other architecture lists would "
                               "share them:\n  " + "\n  ".join(misplaced))
        sizes = parse_block_sizes(kept(work, arch, "ptx", len(arches) == 1).read_text())
        wide = None
        if nvdisasm:
            sass = run([nvdisasm, "-c", kept(work, arch, "cubin", len(arches) == 1)])
            if sass.returncode != 0:
                raise CompileError(f"nvdisasm: {sass.stdout}")
            wide = parse_wide_accesses(sass.stdout)
        report[arch] = {}
        for mangled, figures in sorted(kernels.items(), key=lambda item: names[item[0]]):
            short = short_name(names[mangled])
            if short in report[arch]:
                raise CompileError(f"two kernels are called {short}")
            launch = launches.get(base_name(short), {})
            threads = launch.get("threads", sizes.get(mangled))
            if threads is None:
                raise CompileError(f"{short} has no __launch_bounds__, so that nobody knows its occupancy")
            entry = {"threads": threads, **figures}
            question = (arch, figures["registers"], figures["shared_bytes"], threads, launch.get("dynamic_shared", 0))
            entry["occupancy"] = occupancies(occupancy, [question])[0]
            if wide is not None:
                entry["loads_128"], entry["stores_128"] = wide[mangled]
            report[arch][short] = entry
    return report
