#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Refuses PTX that a simulator of PTX (of the GPGPU-Sim family, Volta class) would misread or not know.

  check_ptx.py FILE...    PTX as text, or programs that hold it uncompressed (nvcc --no-compress)

Such simulators read a part of PTX. What they do not know is an error at best; an integer constant they read into 32
signed bits without a word, so a larger one becomes another number. A 32-bit operand survives that up to 2^32 - 1; a
64-bit operand is then sign-extended, so there 2^31 - 1 is the most.

One larger constant is let through, -2^32 in the mask by which nvcc finds out whether a 64-bit division has operands of
32 bits and can be a shorter one: misread as 0 it always says yes, which is right for the numbers of the smoke programs.
"""
import pathlib
import re
import sys

OPCODES = set("""
abs activemask add addc and atom bar bfe bfi bfind bra brev clz cnot cos cvt cvta div ex2 exit fma isspacep ld ldu lg2
mad mad24 madc max membar min mov mul mul24 neg not or popc prefetch prmt rcp red rem ret rsqrt sad selp set setp shfl
shl shr sin slct sqrt st sub subc trap vote xor
""".split())

# What may follow an opcode, types aside.
MODIFIERS = set("""
abs add all and any approx arrive b4e ballot bfly ca cas cc cg cs cta cv dec down ecl ecr eq equ exch f4e full ftz ge
geu gl global gt gtu hi hs idx inc le leu lo local ls lt ltu lu max min nan nc ne neg neu num or param popc rc16 rc8
red rm rmi rn rni rp rpi rz rzi sat shared sync sys to uni up v2 v3 v4 volatile warp wb wide wt xor
""".split())
TYPES = {f"{kind}{bits}": bits for kind in "usbf" for bits in (8, 16, 32, 64) if (kind, bits) != ("f", 8)}

INSTRUCTION = re.compile(r"^\s*(?:@!?%\w+\s+)?([a-z][a-z0-9]*)((?:\.[A-Za-z0-9_:]+)*)\s*([^;]*);")
INTEGER = re.compile(r"(?<![\w.$%])(-?(?:0[xX][0-9a-fA-F]+|\d+))U?(?![\w.])")
DIVISION_MASK = re.compile(r"^\s*and\.b64\s+(%\w+), %\w+, -4294967296;\s*setp\.(?:ne|eq)\.[su]64\s+%\w+, \1, 0;",
                           re.M)
NOT_CODE = re.compile(r"^\s*(\.|//|\{|\}|\)|\(|$|[\w$%]+:\s*$)")
FLOATING = re.compile(r"\b0[fFdD][0-9a-fA-F]+\b")


def texts_of(data):
    """The PTX modules in a file: the file itself, or what a program holds between .version and the next NUL."""
    if b"\0" not in data:
        return [data.decode()]
    modules = []
    start = data.find(b".version ")
    while start >= 0:
        end = data.find(b"\0", start)
        end = len(data) if end < 0 else end
        modules.append(data[start:end].decode(errors="replace"))
        start = data.find(b".version ", end)
    return modules


def operand_bits(opcode, modifiers):
    """How wide the integer operands of an instruction are, from its last type; addresses count as 64 bits."""
    widths = [TYPES[modifier] for modifier in modifiers if modifier in TYPES]
    if opcode in ("shl", "shr", "bfe", "bfi"):  # shift counts and positions are of 32 bits, the values are not
        return max(widths, default=32)
    return widths[-1] if widths else 32


def integer_fits(value, bits):
    return -2**31 <= value < (2**31 if bits == 64 else 2**32)


def faults_of_line(line):
    if NOT_CODE.match(line):
        return []
    found = INSTRUCTION.match(line)
    if not found:
        return ["cannot be read"]
    opcode, suffix, operands = found.groups()
    modifiers = [part for part in re.split(r"[.:]+", suffix) if part]
    faults = []
    if opcode not in OPCODES:
        faults.append(f"opcode {opcode}")
    faults += [f"modifier .{part} of {opcode}" for part in modifiers
               if part not in MODIFIERS and part not in TYPES and part != "pred"]
    bits = operand_bits(opcode, modifiers)
    for text in INTEGER.findall(FLOATING.sub("", operands)):
        if re.match(r"-?0\d", text):
            faults.append(f"octal constant {text}")
        elif not integer_fits(int(text, 0), 64 if "[" in operands and f"+{text}]" in operands else bits):
            faults.append(f"constant {text} in an operand of {bits} bits")
    return faults


def faults_of(text):
    """["line N: fault: the line"] of a PTX module."""
    if not re.search(r"\.entry\b", text):
        return ["holds no kernel"]
    text = DIVISION_MASK.sub("\n", text)  # as many lines as before, so that their numbers stay
    faults = []
    in_initializer = in_prototype = False
    for number, line in enumerate(text.splitlines(), 1):
        # Variables may have initializers of several lines, and functions prototypes; neither is code.
        if re.match(r"\s*\.(global|const|shared|visible \.global)\b.*=", line):
            in_initializer = True
        if re.match(r"\s*(\.(visible|weak|extern)\s+)?\.(entry|func)\b", line):
            in_prototype = True
        if not in_initializer and not in_prototype:
            faults += [f"line {number}: {fault}: {line.strip()}" for fault in faults_of_line(line)]
        if in_initializer and line.rstrip().endswith(";"):
            in_initializer = False
        if in_prototype and line.rstrip().endswith((")", ";", "{")):
            in_prototype = False
    return faults


def main(files):
    if not files:
        sys.exit(__doc__)
    bad = False
    for file in files:
        modules = texts_of(pathlib.Path(file).read_bytes())
        faults = [fault for module in modules for fault in faults_of(module)]
        if not modules:
            faults = ["holds no PTX that is not compressed"]
        for fault in faults:
            print(f"{file}: {fault}")
        lines = sum(module.count("\n") for module in modules)
        if not faults:
            print(f"{file}: {lines} lines of PTX, nothing to refuse")
        bad = bad or bool(faults)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
