#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Times the library beside torch and ONNX Runtime: the same work on the same arrays, interleaved, medians.

    compare.py STAGES.so FLOORS.so [--threads 1 2] [--stages permute ...] [--seconds 1.0] [--json FILE] [--svg FILE]

bench/compare builds the two libraries and installs the peers. A case is a list of contenders; they take turns of some
hundredths of a second until --seconds have passed for each, so that what else the machine does hits all of them. Results are compared before
anything is timed. The floor of a case is the same number of bytes, moved or read by a loop that does nothing else.
"""
import argparse
import ctypes
import json
import os
import platform
import statistics
import sys
import time

import numpy as np
import onnx
import onnxruntime
import torch

from plot import draw

TOKENS, TOP_K, HIDDEN = 4096, 8, 2048


def address(array):
    return ctypes.c_void_p(array.data_ptr() if isinstance(array, torch.Tensor) else array.ctypes.data)


class Library:
    def __init__(self, path):
        self.functions = ctypes.CDLL(path)

    def call(self, name, *arguments):
        def convert(a):
            if isinstance(a, (np.ndarray, torch.Tensor)):
                return address(a)
            return ctypes.c_int64(a) if isinstance(a, Wide) else ctypes.c_int(a)

        function = getattr(self.functions, name)
        converted = [convert(a) for a in arguments]

        def run(keep_alive=arguments):  # the addresses are all that ctypes has
            function(*converted)

        return run


class Wide(int):
    """An int64 argument."""


def onnx_session(nodes, inputs, outputs, threads):
    graph = onnx.helper.make_graph(
        nodes, "g",
        [onnx.helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [onnx.helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in outputs])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def bound(session, feeds, fetches):
    """A call with inputs and outputs in place: no copies but the operators' own."""
    binding = session.io_binding()
    for name, array in feeds.items():
        binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    for name, array in fetches.items():
        binding.bind_ortvalue_output(name, onnxruntime.OrtValue.ortvalue_from_numpy(array))
    return lambda: session.run_with_iobinding(binding)


class Case:
    def __init__(self, stage, name, ours, peers, floor, check):
        self.stage, self.name, self.ours, self.peers, self.floor, self.check = stage, name, ours, peers, floor, check


def selection(lib, floors, experts, top_k, kind, threads):
    x = torch.randn(TOKENS, experts, generator=torch.Generator().manual_seed(1))
    logits = x if kind == "f32" else x.bfloat16()
    ids = np.zeros((TOKENS, top_k), np.int32)
    weights = np.zeros((TOKENS, top_k), np.float32)
    ours = lib.call("select_" + kind, logits, Wide(TOKENS), Wide(experts), top_k, threads, ids, weights)

    def with_torch():
        values, chosen = torch.topk(torch.softmax(logits, -1), top_k, -1)
        return values / values.sum(-1, keepdim=True), chosen

    peers = {"torch": with_torch}
    if kind == "f32":
        F, I = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
        session = onnx_session(
            [onnx.helper.make_node("Softmax", ["x"], ["p"], axis=-1),
             onnx.helper.make_node("TopK", ["p", "k"], ["v", "i"], axis=-1)],
            [("x", F, [TOKENS, experts]), ("k", I, [1])],
            [("v", F, [TOKENS, top_k]), ("i", I, [TOKENS, top_k])], threads)
        run = bound(session, {"x": x.numpy(), "k": np.array([top_k], np.int64)},
                    {"v": np.zeros((TOKENS, top_k), np.float32), "i": np.zeros((TOKENS, top_k), np.int64)})
        peers["onnxruntime (not renormalized)"] = run
    best = np.zeros(TOKENS, np.float32)
    floor = floors.call("floor_row_maxima", x, Wide(TOKENS), Wide(experts), threads, best) if kind == "f32" else None

    def check():
        ours()
        # Of the logits, since a softmax rounds some to ties; by value, since torch orders ties as it likes.
        values = torch.topk(logits.float(), top_k, -1)[0]
        mine = torch.gather(logits.float(), 1, torch.from_numpy(ids).long())
        return torch.equal(mine, values) and np.allclose(weights, torch.softmax(values, -1).numpy(), 1e-4, 1e-6)

    return Case("selection", f"{kind} E={experts} K={top_k}", ours, peers, floor, check)


def expert_choice(lib, threads, experts=128, capacity=512):
    x = torch.randn(TOKENS, experts, generator=torch.Generator().manual_seed(2))
    ids = np.zeros((experts, capacity), np.int32)
    values = np.zeros((experts, capacity), np.float32)
    ours = lib.call("choose_tokens", x, Wide(TOKENS), Wide(experts), Wide(capacity), threads, ids, values)
    peers = {"torch, columns": lambda: torch.topk(x, capacity, 0),
             "torch, transposed": lambda: torch.topk(x.t().contiguous(), capacity, 1)}

    def check():
        ours()
        mine = torch.gather(x.t(), 1, torch.from_numpy(ids).long())
        return torch.equal(mine, torch.topk(x, capacity, 0)[0].t())

    return Case("expert choice", f"top-{capacity} of {TOKENS}, E={experts}", ours, peers, None, check)


def routed(experts=128):
    """Ids of random choices, their grouping, and weights."""
    x = torch.randn(TOKENS, experts, generator=torch.Generator().manual_seed(3))
    ids = torch.topk(x, TOP_K, -1)[1].int()
    sorted_slots = torch.argsort(ids.flatten(), stable=True)
    inverse = torch.empty_like(sorted_slots)
    inverse[sorted_slots] = torch.arange(sorted_slots.numel())
    return ids, sorted_slots, inverse


def grouping(lib, threads, whole, experts=128):
    """Ours writes the order, its inverse and the experts' offsets in any case; torch those, or the order alone."""
    ids, sorted_slots, inverse = routed(experts)
    mine = np.zeros(ids.numel(), np.int32)
    my_inverse = np.zeros(ids.numel(), np.int32)
    offsets = np.zeros(experts + 1, np.int32)
    ours = lib.call("group", ids, Wide(TOKENS), TOP_K, experts, threads, mine, my_inverse, offsets)
    flat = ids.flatten()
    rows, back = torch.arange(flat.numel()), torch.zeros(flat.numel(), dtype=torch.int64)
    ends = torch.zeros(experts + 1, dtype=torch.int64)

    def all_of_it():
        order = torch.argsort(flat, stable=True)
        back[order] = rows
        torch.cumsum(torch.bincount(flat, minlength=experts), 0, out=ends[1:])
        return order

    peers = {"torch argsort, inverse, offsets": all_of_it}
    if not whole:
        peers = {"torch argsort": lambda: torch.argsort(flat, stable=True)}

    def check():
        ours()
        all_of_it()
        return (np.array_equal(mine, sorted_slots.numpy()) and np.array_equal(my_inverse, inverse.numpy())
                and np.array_equal(my_inverse, back.numpy()) and np.array_equal(offsets, ends.numpy()))

    return Case("grouping", f"{ids.numel()} ids, E={experts}" + ("" if whole else ", order alone"), ours, peers, None,
                check)


def route(lib, floors, threads, experts, tokens=16384, hidden=4096, top_k=2, rho=0.8):
    """Expert-token resonance from hidden states; torch does the same steps, each with its own operators."""
    x = torch.randn(tokens, hidden, generator=torch.Generator().manual_seed(5))
    kept = np.zeros((tokens, top_k), np.int32)
    mine, inverse = np.zeros(tokens * top_k, np.int32), np.zeros(tokens * top_k, np.int32)
    ours = lib.call("route", x, Wide(tokens), Wide(hidden), experts, top_k, threads, kept, mine, inverse)

    def with_torch():
        sums = x.view(tokens, experts, hidden // experts).sum(-1)
        delta = sums / (x.norm(dim=1, keepdim=True) * (hidden / experts) ** 0.5)
        values, ids = torch.topk(delta, top_k, -1)
        weights = torch.softmax(values, -1)
        flat, affinity = ids.flatten(), values.flatten()
        order = torch.argsort(affinity, descending=True, stable=True)
        order = order[torch.argsort(flat[order], stable=True)]  # by expert, best first
        counts = torch.bincount(flat, minlength=experts)
        mass = affinity[order].clamp(min=0).double()
        before = mass.cumsum(0) - mass
        first = counts.cumsum(0) - counts
        of = flat[order]
        totals = torch.zeros(experts, dtype=torch.double).index_add_(0, of, mass)
        keep = before - before[first[of].clamp(max=before.numel() - 1)] < rho * totals[of]
        kept_ids = torch.full_like(flat, -1)
        kept_ids[order[keep]] = of[keep]
        key = torch.where(kept_ids < 0, experts, kept_ids)
        sorted_slots = torch.argsort(key, stable=True)
        rows_of = torch.empty_like(sorted_slots)
        rows_of[sorted_slots] = torch.arange(sorted_slots.numel())
        return kept_ids, weights, sorted_slots, rows_of

    floor = floors.call("floor_read", x, Wide(x.numel() * 4), threads)

    def check():
        ours()
        theirs = with_torch()[0].numpy()
        # Sums in another order: a near tie may go the other way.
        return (kept.flatten() != theirs).mean() < 1e-3

    return Case("route", f"GrAP, restricted, mass: {tokens} x {hidden}, E={experts} K={top_k}", ours,
                {"torch": with_torch}, floor, check)


def rows(lib, floors, kind, threads, back):
    ids, sorted_slots, inverse = routed()
    kind_of = torch.float32 if kind == "f32" else torch.bfloat16
    random = torch.Generator().manual_seed(4)
    slots = TOKENS * TOP_K
    token = (sorted_slots // TOP_K)
    sorted32, inverse32 = sorted_slots.int(), inverse.int()
    weights = torch.rand(TOKENS, TOP_K, generator=random)
    width = 4 if kind == "f32" else 2
    if not back:
        x = torch.randn(TOKENS, HIDDEN, generator=random).to(kind_of)
        out = torch.zeros(slots, HIDDEN, dtype=kind_of)
        theirs = torch.zeros(slots, HIDDEN, dtype=kind_of)
        ours = lib.call("permute_" + kind, x, Wide(TOKENS), Wide(HIDDEN), TOP_K, sorted32, inverse32, threads, out)
        peers = {"torch index_select": lambda: torch.index_select(x, 0, token, out=theirs)}
        if kind == "f32":
            F, I = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
            session = onnx_session([onnx.helper.make_node("Gather", ["x", "i"], ["y"], axis=0)],
                                   [("x", F, [TOKENS, HIDDEN]), ("i", I, [slots])], [("y", F, [slots, HIDDEN])], threads)
            peers["onnxruntime Gather"] = bound(session, {"x": x.numpy(), "i": token.numpy()}, {"y": theirs.numpy()})
        floor = floors.call("floor_streamed_copies", x, Wide(HIDDEN * width), Wide(TOKENS), TOP_K, threads, theirs)

        def check():
            ours()
            return torch.equal(out, x[token])

        return Case("permute", f"{kind} {TOKENS} to {slots} rows, H={HIDDEN}", ours, peers, floor, check)
    permuted = torch.randn(slots, HIDDEN, generator=random).to(kind_of)
    y = torch.zeros(TOKENS, HIDDEN, dtype=kind_of)
    ours = lib.call("unpermute_" + kind, permuted, Wide(TOKENS), Wide(HIDDEN), TOP_K, sorted32, inverse32, weights,
                    threads, y)
    own_weights = weights.to(kind_of)
    peers = {
        "torch gather, bmm": lambda: torch.bmm(own_weights.view(TOKENS, 1, TOP_K),
                                               permuted[inverse].view(TOKENS, TOP_K, HIDDEN)),
        "torch gather, multiply, sum": lambda: (permuted[inverse].view(TOKENS, TOP_K, HIDDEN)
                                                * own_weights.view(TOKENS, TOP_K, 1)).sum(1),
    }
    floor = floors.call("floor_read", permuted, Wide(slots * HIDDEN * width), threads)

    def check():
        ours()
        expected = torch.einsum("tk,tkh->th", weights, permuted[inverse].view(TOKENS, TOP_K, HIDDEN).float())
        return torch.allclose(y.float(), expected, 1e-2 if kind == "bf16" else 1e-4, 1e-2 if kind == "bf16" else 1e-4)

    return Case("unpermute", f"{kind} {slots} to {TOKENS} rows, H={HIDDEN}", ours, peers, floor, check)


def cases(lib, floors, threads, only):
    for stage, make in all_cases(lib, floors, threads):
        if only is None or stage in only:
            yield make


def all_cases(lib, floors, threads):
    for experts in (64, 72, 128, 256, 257, 288, 384, 512):
        yield "selection", lambda e=experts: selection(lib, floors, e, TOP_K, "f32", threads)
    for experts in (128, 256):
        yield "selection", lambda e=experts: selection(lib, floors, e, TOP_K, "bf16", threads)
    for top_k in (1, 2, 4, 16, 22, 32):
        yield "selection", lambda k=top_k: selection(lib, floors, 128, k, "f32", threads)
    yield "expert choice", lambda: expert_choice(lib, threads)
    for whole in (True, False):
        yield "grouping", lambda w=whole: grouping(lib, threads, w)
    for back in (False, True):
        for kind in ("f32", "bf16"):
            yield "unpermute" if back else "permute", lambda k=kind, b=back: rows(lib, floors, k, threads, b)
    for experts in (8, 64):
        yield "route", lambda e=experts: route(lib, floors, threads, e)


REST, WARM_UP, TURN = 0.005, 0.01, 0.02  # seconds


def measure(case, seconds):
    """Median seconds of a call of every contender. They take turns; a turn is a rest, calls untimed, calls timed.

    The rest, since the peers' threads keep their cores for some milliseconds after a call, which would be another's
    second core; the calls untimed, since a core that slept is slow to come back.
    """
    contenders = {"ours": case.ours, **case.peers}
    if case.floor is not None:
        contenders["floor"] = case.floor
    times = {name: [] for name in contenders}
    end = time.perf_counter() + seconds * len(contenders)
    while time.perf_counter() < end or len(times["ours"]) < 5:
        for name, call in contenders.items():
            time.sleep(REST)
            repeat(call, WARM_UP)
            times[name] += repeat(call, TURN)
    return {name: statistics.median(values) for name, values in times.items()}


def repeat(call, seconds):
    """The times of as many calls as fit, one at least."""
    times = []
    end = time.perf_counter() + seconds
    while not times or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return times


def row_of(case, threads, medians):
    peers = {name: medians[name] for name in case.peers}
    best = min(peers, key=peers.get)
    floor = medians.get("floor")
    return {"stage": case.stage, "case": case.name, "threads": threads, "ms": medians["ours"] * 1e3, "best_peer": best,
            "peer_ms": peers[best] * 1e3, "times_faster": peers[best] / medians["ours"],
            "times_the_floor": medians["ours"] / floor if floor else None,
            "all_ms": {name: value * 1e3 for name, value in medians.items()}}


def machine():
    model = platform.processor()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            model = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"cpu": model, "cores": os.cpu_count(), "torch": torch.__version__, "onnxruntime": onnxruntime.__version__,
            "python": platform.python_version()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages")
    parser.add_argument("floors")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--stages", dest="only", nargs="+", help="selection, permute, ...; all unless given")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each contender of a case")
    parser.add_argument("--json", help="write machine and results there")
    parser.add_argument("--svg", help="draw the results there")
    options = parser.parse_args()
    lib, floors = Library(options.stages), Library(options.floors)
    results = []
    print("| stage | case | threads | ms | best peer | its ms | times as fast | over the floor |")
    print("|---|---|---|---|---|---|---|---|")
    for threads in options.threads:
        torch.set_num_threads(threads)
        for make in cases(lib, floors, threads, options.only):
            case = make()
            if not case.check():
                sys.exit(f"compare: {case.stage}, {case.name}: the results differ")
            r = row_of(case, threads, measure(case, options.seconds))
            results.append(r)
            over = f"{r['times_the_floor']:.2f}" if r["times_the_floor"] else "-"
            print(f"| {r['stage']} | {r['case']} | {threads} | {r['ms']:.3f} | {r['best_peer']} | {r['peer_ms']:.3f} | "
                  f"{r['times_faster']:.1f} | {over} |", flush=True)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"machine": machine(), "results": results}, file, indent=1)
            file.write("\n")
    if options.svg:
        draw(results, options.svg)


if __name__ == "__main__":
    main()
