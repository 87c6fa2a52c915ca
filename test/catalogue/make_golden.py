#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records what the routers of transformers choose, as golden files for the catalogue's tests.

    make_golden.py FOLDER        writes FOLDER/NAME.{logits,bias,ids,weights}.npy, one set per router
    make_golden.py --check FOLDER
                                 runs the routers again and compares with the files there; exits 77 without transformers

A router's hidden size is its number of experts and its weight the identity, so that its logits are its input to the
bit; its bias, where it has one, is random. Inputs have no ties. Files of transformers 5.23.0, torch 2.15.

expert_choice and sinkhorn are not in transformers: there torch computes the papers' formulas.
"""
import argparse
import importlib
import pathlib
import sys
import types

try:
    import numpy as np
    import torch
    import transformers  # noqa: F401
except ImportError as missing:
    print(f"make_golden: {missing}: pip install numpy torch transformers")
    sys.exit(77)

TOKENS = 24


def config(**fields):
    return types.SimpleNamespace(**fields)


def gate(module, name, **fields):
    kind = getattr(importlib.import_module(f"transformers.models.{module}.modeling_{module}"), name)
    router = kind(config(**fields))
    with torch.no_grad():
        router.weight.copy_(torch.eye(router.weight.shape[0]))
    return router.eval()


def bias_of(experts, seed):
    return 0.1 * torch.randn(experts, generator=torch.Generator().manual_seed(seed))


def softmax_top_k(module, name, experts, top_k, normalized=True):
    router = gate(module, name, num_experts_per_tok=top_k, num_experts=experts, num_local_experts=experts,
                  hidden_size=experts, norm_topk_prob=normalized, n_group=1, topk_group=1, routed_scaling_factor=1.0,
                  topk_method="greedy")
    return experts, None, lambda x: router(x)[1:]


def deepseek_v2(experts, top_k, groups, kept_groups, scale):
    router = gate("deepseek_v2", "DeepseekV2TopkRouter", num_experts_per_tok=top_k, num_experts=experts,
                  hidden_size=experts, n_group=groups, topk_group=kept_groups, routed_scaling_factor=scale,
                  topk_method="group_limited_greedy")
    return experts, None, lambda x: router(x)[1:]


def sigmoid_bias(module, name, experts, top_k, groups, kept_groups, scale):
    router = gate(module, name, num_experts_per_tok=top_k, num_local_experts=experts, num_experts=experts,
                  n_routed_experts=experts, hidden_size=experts, n_group=groups, topk_group=kept_groups,
                  routed_scaling_factor=scale, norm_topk_prob=True)
    bias = bias_of(experts, 7)
    router.e_score_correction_bias.copy_(bias)
    return experts, bias, lambda x: router(x)[1:]


def minimax_m2(experts, top_k):
    router = gate("minimax_m2", "MiniMaxM2TopKRouter", num_experts_per_tok=top_k, num_local_experts=experts,
                  hidden_size=experts)
    bias = bias_of(experts, 8)
    return experts, bias, lambda x: router(x, bias)[1:]


def gpt_oss(experts, top_k):
    router = gate("gpt_oss", "GptOssTopKRouter", num_experts_per_tok=top_k, num_local_experts=experts,
                  hidden_size=experts)
    with torch.no_grad():
        router.bias.copy_(bias_of(experts, 9))

    def run(x):
        logits, weights, ids = router(x)
        return weights, ids, logits  # the bias is part of them

    return experts, None, run


def llama4(experts):
    kind = importlib.import_module("transformers.models.llama4.modeling_llama4").Llama4Router
    router = kind(config(hidden_size=experts, num_local_experts=experts, num_experts_per_tok=1)).eval()
    with torch.no_grad():
        router.weight.copy_(torch.eye(experts))

    def run(x):
        scores, _ = router(x)
        weights, ids = scores.max(-1, keepdim=True)
        return weights, ids

    return experts, None, run


def dbrx(experts, top_k):
    kind = importlib.import_module("transformers.models.dbrx.modeling_dbrx").DbrxFFN
    self = config(moe_normalize_expert_weights=1.0, top_k=top_k)
    return experts, None, lambda x: kind.route_tokens_to_experts(self, x)


def phimoe(experts):
    module = importlib.import_module("transformers.models.phimoe.modeling_phimoe")
    return experts, None, lambda x: module.sparsemixer(x, jitter_eps=0.01, training=False)


def nllb_top_2(experts, capacity, prioritized):
    """GShard's top-2 with slot-major capacity; prioritized: V-MoE's order."""
    kind = importlib.import_module("transformers.models.nllb_moe.modeling_nllb_moe").NllbMoeTop2Router
    router = kind(config(num_experts=experts, expert_capacity=capacity, hidden_size=experts, router_bias=False,
                         router_ignore_padding_tokens=False, router_dtype="float32", second_expert_policy="all",
                         normalize_router_prob_before_dropping=not prioritized, batch_prioritized_routing=prioritized,
                         moe_eval_capacity_token_fraction=-1.0)).eval()
    with torch.no_grad():
        router.classifier.weight.copy_(torch.eye(experts))

    def run(x):
        weights, ids = router(x)[1].topk(2, dim=-1)
        return weights, torch.where(weights > 0, ids, -1)

    return experts, None, run


def expert_choice(experts, capacity):
    def run(x):
        probability = torch.softmax(x, dim=-1)
        chosen = torch.zeros_like(probability).scatter_(0, probability.topk(capacity, dim=0).indices, 1.0)
        weights, ids = (probability * chosen).topk(experts, dim=-1)
        return weights, torch.where(weights > 0, ids, -1)

    return experts, None, run


def sinkhorn(experts, iterations):
    """Top-1 of the balanced plan, weighed by the sigmoid of the logit, as Megatron-LM's sinkhorn load balancing does."""

    def run(x):
        plan = torch.exp(x.double())
        columns = torch.ones(experts, dtype=torch.float64)
        for _ in range(iterations):
            rows = 1.0 / (len(x) * (plan * columns).sum(1))
            columns = 1.0 / (experts * (plan * rows[:, None]).sum(0))
        ids = (plan * columns).argmax(-1, keepdim=True)
        return torch.sigmoid(x).gather(1, ids), ids

    return experts, None, run


def switch(experts, capacity):
    kind = importlib.import_module("transformers.models.switch_transformers.modeling_switch_transformers")
    router = kind.SwitchTransformersTop1Router(config(
        num_experts=experts, expert_capacity=capacity, hidden_size=experts, router_bias=False, router_jitter_noise=0.0,
        router_ignore_padding_tokens=False, router_dtype="float32")).eval()
    with torch.no_grad():
        router.classifier.weight.copy_(torch.eye(experts))

    def run(x):
        kept, probability, _ = router(x[None])
        ids = torch.where(kept[0].sum(-1) > 0, kept[0].argmax(-1), -1)
        return torch.where(ids >= 0, probability[0, :, 0], 0.0)[:, None], ids[:, None]

    return experts, None, run


ROUTERS = {
    "mixtral": lambda: softmax_top_k("mixtral", "MixtralTopKRouter", 8, 2),
    "qwen3_moe": lambda: softmax_top_k("qwen3_moe", "Qwen3MoeTopKRouter", 128, 8),
    "qwen3_next": lambda: softmax_top_k("qwen3_next", "Qwen3NextTopKRouter", 512, 10),
    "olmoe": lambda: softmax_top_k("olmoe", "OlmoeTopKRouter", 64, 8, False),
    "dbrx": lambda: dbrx(16, 4),
    "deepseek_v2": lambda: deepseek_v2(160, 6, 8, 3, 16.0),
    "deepseek_v3": lambda: sigmoid_bias("deepseek_v3", "DeepseekV3TopkRouter", 256, 8, 8, 4, 2.5),
    "kimi_k2": lambda: sigmoid_bias("deepseek_v3", "DeepseekV3TopkRouter", 384, 8, 1, 1, 2.827),
    "glm4_moe": lambda: sigmoid_bias("glm4_moe", "Glm4MoeTopkRouter", 160, 8, 1, 1, 2.5),
    "nemotron_h": lambda: sigmoid_bias("nemotron_h", "NemotronHTopkRouter", 512, 22, 1, 1, 5.0),
    "minimax_m2": lambda: minimax_m2(256, 8),
    "gpt_oss": lambda: gpt_oss(128, 4),
    "llama4": lambda: llama4(16),
    "phimoe": lambda: phimoe(16),
    "switch": lambda: switch(8, 3),
    "gshard": lambda: nllb_top_2(8, 3, False),
    "v_moe": lambda: nllb_top_2(8, 4, True),
    "expert_choice": lambda: expert_choice(8, 6),
    "sinkhorn": lambda: sinkhorn(16, 8),
}


def record(seed, name):
    experts, bias, run = ROUTERS[name]()
    x = torch.randn(TOKENS, experts, generator=torch.Generator().manual_seed(100 + seed))
    with torch.no_grad():
        weights, ids, *logits = run(x.clone())
    order = torch.argsort(weights, dim=-1, descending=True, stable=True)
    arrays = {"logits": logits[0] if logits else x, "ids": ids.gather(1, order).int(), "weights": weights.gather(1, order).float()}
    if bias is not None:
        arrays["bias"] = bias
    return {kind: array.detach().numpy() for kind, array in arrays.items()}


def differences(folder, name, arrays):
    for kind, array in arrays.items():
        there = np.load(folder / f"{name}.{kind}.npy")
        same = np.allclose(there, array, rtol=1e-6, atol=0.0) if kind == "weights" else np.array_equal(there, array)
        if not same:
            yield f"{name}.{kind} is not what the router gives now"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    parser.add_argument("folder", type=pathlib.Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    faults = []
    for seed, name in enumerate(ROUTERS):
        arrays = record(seed, name)
        if arguments.check:
            faults += differences(arguments.folder, name, arrays)
            continue
        arguments.folder.mkdir(parents=True, exist_ok=True)
        for kind, array in arrays.items():
            np.save(arguments.folder / f"{name}.{kind}.npy", array)
    print(*faults, f"{len(ROUTERS)} routers, {len(faults)} differences", sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
