#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Shows that every gate of this folder fails on what it is there to find.

Environment: NVCC, CXX, INCLUDE_DIR, OCCUPANCY, and NVRTC_TEST where there is an NVRTC."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import check_kernels
import check_ptx
import kernel_report

HERE = pathlib.Path(__file__).resolve().parent
NVCC, CXX, INCLUDE_DIR, OCCUPANCY = (os.environ[name] for name in ("NVCC", "CXX", "INCLUDE_DIR", "OCCUPANCY"))

CLEAN = "extern \"C\" __global__ void __launch_bounds__(128) clean(float* x) { x[threadIdx.x] += 1.0f; }\n"
SPILLING = """
extern "C" __global__ void __launch_bounds__(1024, 2) spilling(const float* in, float* out, int n) {
  float x[96];
#pragma unroll
  for (int i = 0; i < 96; ++i) x[i] = in[i * n + threadIdx.x];
  for (int k = 0; k < n; ++k)
#pragma unroll
    for (int i = 0; i < 96; ++i) x[i] = fmaf(x[i], x[(i + 1) % 96], x[(i + 37) % 96]);
#pragma unroll
  for (int i = 0; i < 96; ++i) out[i * n + threadIdx.x] = x[i];
}
"""
LOCAL_MEMORY = """
extern "C" __global__ void __launch_bounds__(128) indexed(const int* in, int* out) {
  int x[32];
  for (int i = 0; i < 32; ++i) x[i] = in[i];
  for (int i = 0; i < 32; ++i) x[in[i + 32] & 31] += in[i];
  out[threadIdx.x] = x[threadIdx.x & 31];
}
"""
WARNING = "extern \"C\" __global__ void __launch_bounds__(128) warned(float* x) { int unused; x[0] = 1.0f; }\n"
UNBOUND = "extern \"C\" __global__ void unbound(float* x) { x[0] = 1.0f; }\n"
MISPLACED = "namespace resonance { __global__ void __launch_bounds__(128) misplaced(float* x) { x[0] = 1.0f; } }\n"


class Folder(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.work = pathlib.Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()


class Compile(Folder):
    def report(self, text):
        source = self.work / "unit.cu"
        source.write_text(text)
        ptxas = kernel_report.compile_source(NVCC, source, [INCLUDE_DIR], [80], self.work / "kept", ["-ccbin", CXX])
        return kernel_report.describe(ptxas, source, [80], self.work / "kept", OCCUPANCY, "")

    def refused(self, text, reason):
        with self.assertRaises(kernel_report.CompileError) as caught:
            self.report(text)
        self.assertIn(reason, str(caught.exception))

    def test_clean_kernel_passes_with_its_figures(self):
        figures = self.report(CLEAN)["80"]["clean"]
        self.assertEqual(figures["threads"], 128)
        self.assertEqual(figures["shared_bytes"], 0)
        self.assertEqual(figures["occupancy"], 100)
        self.assertGreater(figures["registers"], 0)

    def test_spills(self):
        self.refused(SPILLING, "Registers are spilled to local memory")
        self.refused(SPILLING, "sm_80 spilling: ")  # the summary over all architectures

    def test_local_memory(self):
        self.refused(LOCAL_MEMORY, "Local memory used for function")

    def test_warning(self):
        self.refused(WARNING, "unused")

    def test_kernel_without_launch_bounds(self):
        self.refused(UNBOUND, "__launch_bounds__")

    def test_kernel_outside_the_namespace_of_its_architectures(self):
        self.refused(MISPLACED, "misplaced")


class Baselines(unittest.TestCase):
    OLD = {"registers": 32, "shared_bytes": 0, "threads": 256, "occupancy": 100, "loads_128": 4, "stores_128": 2}

    def faults(self, **changed):
        figures = check_kernels.FIGURES["resources"] + check_kernels.FIGURES["accesses"]
        return check_kernels.differences("80", {"kernel": {**self.OLD, **changed}}, {"kernel": self.OLD}, figures)

    def test_what_is_as_good_or_better_passes(self):
        self.assertEqual(self.faults(), [])
        self.assertEqual(self.faults(registers=40, loads_128=5, stores_128=3), [])
        self.assertEqual(self.faults(registers=16), [])

    def test_each_figure_that_is_worse_fails_and_names_old_and_new(self):
        for figure, worse in (("registers", 41), ("occupancy", 99), ("loads_128", 3), ("stores_128", 1),
                              ("shared_bytes", 16), ("threads", 128)):
            with self.subTest(figure):
                self.assertEqual(self.faults(**{figure: worse}),
                                 [f"sm_80 kernel: {figure} was {self.OLD[figure]}, is {worse}"])

    def test_kernels_that_came_or_went(self):
        self.assertEqual(len(check_kernels.differences("80", {"new": self.OLD}, {"old": self.OLD}, ())), 2)

    def test_low_occupancy_needs_a_reason(self):
        report = {"arches": {"80": {"ns::kernel<float>": {**self.OLD, "occupancy": 74}}}}
        with tempfile.TemporaryDirectory() as folder:
            source = pathlib.Path(folder, "stage.cu")
            source.write_text("")
            self.assertEqual(len(check_kernels.low_occupancies(report, source)), 1)
            source.write_text("// low occupancy: kernel: it holds a whole row\n")
            self.assertEqual(check_kernels.low_occupancies(report, source), [])


class Reading(unittest.TestCase):
    def test_kernels_of_a_header(self):
        text = ("template <int N>\n__global__ __launch_bounds__(N, 2) void\nfirst(int a) {}\n"
                "__global__ void __launch_bounds__(64)\n    second(int b) {}\n__device__ void third() {}\n")
        self.assertEqual(check_kernels.kernels_of(text), {"first", "second"})

    def test_short_names(self):
        for long, short in (
                ("void resonance::v0_1_0::permute::sm750800::rows<float, 4>(float const*, int)",
                 "permute::rows<float, 4>"),
                ("void ns::resonance::v1_2_3::a::k<resonance::v1_2_3::bfloat16, (int)8>(x)", "ns::a::k<bfloat16, 8>"),
                ("plain(int (*)(int))", "plain")):
            self.assertEqual(kernel_report.short_name(long), short)

    def test_wide_accesses(self):
        sass = ("//--------------------- .text.first --------\n LDG.E.128.CONSTANT R4, [R2.64] ;\n"
                " LDG.E.64 R4, [R2.64] ;\n LDS.128 R4, [R2] ;\n STG.E.128 [R2.64], R4 ;\n"
                "//--------------------- .text.second --------\n LDG.E.ENL2.256 R4, R8, [R2.64] ;\n")
        self.assertEqual(kernel_report.parse_wide_accesses(sass), {"first": (1, 1), "second": (2, 0)})

    def test_block_sizes(self):
        ptx = ".entry a(\n.param .u64 p\n)\n.maxntid 32, 4, 1\n{\n}\n.entry b()\n{\n}\n"
        self.assertEqual(kernel_report.parse_block_sizes(ptx), {"a": 128})


class Ptx(unittest.TestCase):
    def faults(self, line):
        return check_ptx.faults_of(f".visible .entry k(\n\t.param .u64 p\n)\n{{\n\t{line}\n\tret;\n}}\n")

    def test_what_simulators_know_passes(self):
        for line in ("add.s64 %rd8, %rd5, 2147483647;", "and.b32 %r1, %r2, 4294967295;", "@%p1 bra $L__BB0_2;",
                     "mov.f64 %fd1, 0d3FF8000000000000;", "ld.global.v4.u32 {%r1, %r2, %r3, %r4}, [%rd4+16];",
                     "shl.b64 %rd1, %rd2, 32;", "mul.wide.u32 %rd7, %r1, 4;", "$L__BB0_2:", ".reg .b64 %rd<13>;",
                     "shfl.sync.bfly.b32 %r1|%p1, %r2, %r3, 31, -1;", "bar.warp.sync 255;", "// lop3.b32"):
            self.assertEqual(self.faults(line), [], line)

    def test_each_fault_is_seen(self):
        for line in ("and.b64 %rd1, %rd2, 4294967295;", "mov.u64 %rd1, 0x100000000;", "mov.u32 %r1, 4294967296;",
                     "st.global.u64 [%rd1], 2147483648;", "add.s64 %rd1, %rd2, -2147483649;", "mov.u32 %r1, 010;",
                     "ld.global.u32 %r1, [%rd1+4294967296];", "match.any.sync.b32 %r1, %r2, %r3;",
                     "@%p1 shf.l.wrap.b32 %r1, %r2, %r3, %r4;", "lop3.b32 %r1, %r2, %r3, %r4, 150;",
                     "redux.sync.add.s32 %r1, %r2, %r3;", "brx.idx %r1, $L_brx;", "griddepcontrol.wait;",
                     "cp.async.ca.shared.global [%r1], [%rd1], 16;", "fence.acq_rel.gpu;",
                     "atom.relaxed.gpu.global.add.u32 %r1, [%rd1], 1;", "elect.sync %r1|%p1, %r2;"):
            self.assertTrue(self.faults(line), line)

    def test_the_mask_of_a_division_alone_may_be_large(self):
        mask = "and.b64 %rd1, %rd2, -4294967296;"
        self.assertEqual(self.faults(mask + "\n\tsetp.ne.s64 %p1, %rd1, 0;"), [])
        self.assertTrue(self.faults(mask + "\n\tsetp.ne.s64 %p1, %rd3, 0;"))
        self.assertIn("line 7:", self.faults(mask + "\n\tsetp.ne.s64 %p1, %rd1, 0;\n\tlop3.b32 %r1;")[0])
        self.assertTrue(self.faults(mask))

    def test_a_file_without_kernel(self):
        self.assertTrue(check_ptx.faults_of(".version 9.0\n.target sm_75\n"))

    def test_programs(self):
        ptx = b".version 9.0\n.visible .entry k()\n{\nlop3.b32 %r1;\n}\n"
        self.assertEqual(check_ptx.texts_of(b"\x7fELF\0" + ptx + b"\0more\0"), [ptx.decode()])


class Header(Folder):
    def check(self, text, *more):
        (self.work / "one.cuh").write_text(text)
        command = [sys.executable, HERE / "check_header.py", "one", "one.cuh", "--nvcc", NVCC, "--ccbin", CXX]
        command += ["--include", self.work, "--work", self.work / "out", *more]
        return subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def test_guarded_header_passes_in_time(self):
        self.assertEqual(self.check("#pragma once\nstruct s {};\n").returncode, 0)

    def test_header_that_cannot_be_included_twice(self):
        self.assertEqual(self.check("struct s {};\n").returncode, 1)

    def test_budget(self):
        result = self.check("#pragma once\nstruct s {};\n", "--budget", "0.01")
        self.assertEqual(result.returncode, 1)
        self.assertIn("over budget", result.stdout)


class ArchLists(Folder):
    def test_units_that_share_a_launcher(self):
        shutil.copytree(pathlib.Path(INCLUDE_DIR, "resonance"), self.work / "include/resonance")
        config = self.work / "include/resonance/config.hpp"
        text = config.read_text()
        self.assertEqual(text.count("defined(__CUDA_ARCH_LIST__)"), 1)
        config.write_text(text.replace("defined(__CUDA_ARCH_LIST__)", "0"))
        done = subprocess.run([sys.executable, HERE / "check_link.py", "--nvcc", NVCC, "--cxx", CXX, "--include",
                               self.work / "include", "--work", self.work / "out"], check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("share 1 launcher", done.stdout)


@unittest.skipUnless(os.environ.get("NVRTC_TEST"), "the toolkit has no libnvrtc")
class Nvrtc(Folder):
    def compile(self, text, *header):
        (self.work / "unit.cu").write_text(text)
        return subprocess.run([os.environ["NVRTC_TEST"], "75", *(header or [self.work / "unit.cu"]), self.work],
                              check=False, stderr=subprocess.PIPE, text=True)

    def test_kernel_passes(self):
        self.assertEqual(self.compile(CLEAN).returncode, 0)

    def test_error_warning_and_no_kernel(self):
        for text, message in (("__global__ void k() { x; }\n", "undefined"), (WARNING, "warning"),
                              ("__device__ int f();\n", "no kernel")):
            done = self.compile(text)
            self.assertEqual(done.returncode, 1, text)
            self.assertIn(message, done.stderr)

    def test_standard_header(self):
        self.assertEqual(self.compile("#include <cstdint>\n", "-h", "unit.cu").returncode, 1)


if __name__ == "__main__":
    unittest.main()
