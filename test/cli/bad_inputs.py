# SPDX-License-Identifier: Apache-2.0
"""Command lines that resonance-route must refuse, with the files that they name."""
import numpy as np

TOKENS, EXPERTS, HIDDEN = 6, 4, 8


def write_files(folder):
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(TOKENS, EXPERTS)).astype(np.float32)
    arrays = {
        "logits": logits, "hidden": rng.normal(size=(TOKENS, HIDDEN)).astype(np.float32),
        "gate": rng.normal(size=(EXPERTS, HIDDEN)).astype(np.float16), "bias": np.zeros(EXPERTS, np.float32),
        "float64": logits.astype(np.float64), "int32": logits.astype(np.int32), "big_endian": logits.astype(">f4"),
        "fortran": np.asfortranarray(logits), "rank1": logits[0], "rank3": logits[None], "rank0": np.float32(1),
        "no_experts": np.zeros((TOKENS, 0), np.float32), "narrow_gate": np.zeros((EXPERTS, HIDDEN - 1), np.float32),
        "no_gate": np.zeros((0, HIDDEN), np.float32), "long_bias": np.zeros(EXPERTS + 1, np.float32),
        "bias_matrix": np.zeros((1, EXPERTS), np.float32)}
    for name, values in arrays.items():
        np.save(folder / (name + ".npy"), values)
    whole = (folder / "logits.npy").read_bytes()
    (folder / "truncated.npy").write_bytes(whole[:-1])
    (folder / "header_only.npy").write_bytes(whole[:128])
    (folder / "half_header.npy").write_bytes(whole[:50])
    (folder / "too_long.npy").write_bytes(whole + b"\0")
    (folder / "empty.npy").write_bytes(b"")
    (folder / "text.npy").write_text("no array\n")
    wanted = f"({TOKENS}, {EXPERTS})"
    for name, shape in (("huge", "(9999999, 99999999999)"), ("overflow", "(4294967296, 4294967296)"),
                        ("negative", "(-6, 4)")):
        # The dict is followed by padding, so that the longer shape fits where the true one was.
        text = whole[10:128].decode().replace(wanted, shape).rstrip().ljust(117) + "\n"
        (folder / (name + ".npy")).write_bytes(whole[:10] + text.encode() + whole[128:])
    (folder / "folder.npy").mkdir()


def command_lines(folder):
    """(what is wrong, options) of each; `{}` in the table below stands for the folder."""
    logits, hidden = "--logits {}/logits.npy", "--hidden {}/hidden.npy"
    states = hidden + " --gate {}/gate.npy"
    table = [("no input", ""), ("both inputs", logits + " " + states), ("no gate", hidden),
             ("gate alone", "--gate {}/gate.npy"), ("unknown option", logits + " --no-such-option"),
             ("stray word", logits + " stray"), ("missing file", "--logits {}/none.npy"),
             ("missing value", "--logits"), ("missing gate", hidden + " --gate {}/none.npy"),
             ("missing bias", logits + " --bias {}/none.npy")]
    for name in ("float64", "int32", "big_endian", "fortran", "rank0", "rank1", "rank3", "no_experts", "truncated",
                 "header_only", "half_header", "too_long", "empty", "text", "huge", "overflow", "negative", "folder"):
        table.append((f"logits: {name}", f"--logits {{}}/{name}.npy"))
    for name in ("float64", "rank1", "truncated"):
        table.append((f"hidden: {name}", f"--hidden {{}}/{name}.npy --gate {{}}/gate.npy"))
    for name in ("narrow_gate", "no_gate", "rank3", "int32"):
        table.append((f"gate: {name}", hidden + f" --gate {{}}/{name}.npy"))
    for name in ("long_bias", "bias_matrix", "int32", "truncated"):
        table.append((f"bias: {name}", logits + f" --bias {{}}/{name}.npy"))

    def values(option, *bad):
        table.extend((f"{option} {value}", f"{logits} {option} {value}") for value in bad)

    values("--top-k", "5", "0", "-1", "two", "1.5", "nan", "99999999999999999999")
    values("--top-p", "nan", "0", "-0.5", "1.5", "inf", "half")
    values("--scale", "nan", "inf", "big")
    values("--tile", "0", "-1", "nan", "99999999999")
    values("--threads", "-1", "many")
    values("--capacity-cap", "-1", "nan", "1.5")
    values("--metric", "euclid", "dot", "grap", "grap-mean", "cosine")
    values("--score", "argmax")
    values("--merge", "both", "TOKEN-ONLY")
    values("--drop", "random")
    values("--capacity", "some", "fixed", "fixed:", "fixed:-1", "fixed:1.5", "fixed:nan", "fixed:2x", "factor:",
           "factor:nan", "factor:-1", "factor:inf", "mass:", "mass:nan", "mass:0", "mass:-0.1", "mass:1.01",
           "unlimited:3", "bound", "bound:0.1", "bound:nan --hidden-size 8", "bound:-0.1 --hidden-size 8",
           "bound:inf --hidden-size 8", "bound --hidden-size 0", "bound --hidden-size -8")
    values("--groups", "3 --top-groups 1", "2 --top-groups 3", "0 --top-groups 1", "2 --top-groups 0",
           "-2 --top-groups 1")
    values("--group-score", "worst --groups 2 --top-groups 1")
    table += [("grap without --experts", hidden + " --metric grap"),
              ("more experts than columns", hidden + " --metric grap --experts 9 --top-k 1"),
              ("no experts", hidden + " --metric grap --experts 0"),
              ("grap: K > E", hidden + " --metric grap --experts 2 --top-k 3"),
              ("logits metric without logits", states + " --metric logits"),
              ("JSON into a missing folder", logits + " --json {}/none/summary.json"),
              ("JSON into a folder", logits + " --json {}/folder.npy"),
              ("output into a file", logits + " --out {}/text.npy")]
    return [(what, options.replace("{}", str(folder)).split()) for what, options in table]
