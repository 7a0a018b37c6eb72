"""Each kind of network beside lycoris-lora's own wrapper and a Standard LoRA of its size, on the same UNet in one run.

python -m benchmarks.networks [--only NAME …] [--rounds 3] [--latents 16] [--preset attn-mlp]

SD 1.5's UNet at full size with random weights, float32, batch 1, one thread.  A step is a pass forward and one back,
measured in processor seconds; the optimizer, which has the same to do on each side, is left out.  The sides take turns,
so that other work on the machine meets them all, and the figures are medians of the ratios within a turn.  Memory is
what a step takes at its peak beyond the model and the network.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import gc
import logging
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.memory import peak
from engine.runs import process

ROOT = Path(__file__).parents[1]

RANK = 8
MOST_OF_STANDARD = 128
"""The largest rank of the Standard LoRA beside a kind whose file is larger than that one's."""

CASES: dict[str, tuple[dict[str, Any], dict[str, Any] | None]] = {
    "Standard": ({"lora_type": "Standard"}, {}),
    "LoCon": ({"lora_type": "LyCORIS/LoCon"}, {"algo": "lora"}),
    "LoCon, DoRA": ({"lora_type": "LyCORIS/LoCon", "dora_wd": True}, {"algo": "lora", "dora_wd": True}),
    "LoHa": ({"lora_type": "LyCORIS/LoHa"}, {"algo": "loha"}),
    "LoKr": ({"lora_type": "LyCORIS/LoKr", "lokr_factor": 8}, {"algo": "lokr", "factor": 8}),
    "GLoRA": ({"lora_type": "LyCORIS/GLoRA"}, {"algo": "glora"}),
    "(IA)³": ({"lora_type": "LyCORIS/iA3"}, {"algo": "ia3", "train_on_input": True}),
    "Diag-OFT": ({"lora_type": "LyCORIS/Diag-OFT"}, {"algo": "diag-oft"}),
    "BOFT": (
        {"lora_type": "LyCORIS/BOFT", "network_dim": 16, "conv_dim": 16},
        {"algo": "boft", "rank": 16},
    ),
    "Native": (
        {"lora_type": "LyCORIS/Native Fine-Tuning"},
        {"algo": "full"},
    ),
    "DyLoRA": ({"lora_type": "LyCORIS/DyLoRA", "dylora_unit": 4}, {"algo": "dylora", "block_size": 4}),
    "LoRA-FA": ({"lora_type": "LoRA-FA"}, None),
    "T-LoRA": ({"lora_type": "T-LoRA"}, None),
}
"""What our settings say, and what LyCORIS's maker is told; None of what it has not.  Standard is beside peft alone."""


@dataclass(frozen=True)
class Side:
    """step: forward and back.  trained: how many numbers are."""

    step: Callable[[], None]
    trained: int


def copied(module: Any) -> Any:
    """Another module with the same tensors."""
    shared = {id(tensor): tensor for tensor in [*module.parameters(), *module.buffers()]}
    return copy.deepcopy(module, shared)


def side(unet: Any, parameters: list[Any], latents: int) -> Side:
    import torch

    torch.manual_seed(1)
    noisy, told = torch.randn(1, 4, latents, latents), torch.randn(1, 77, 768)
    for parameter in parameters:
        parameter.requires_grad_(True)
        # As in the middle of a run, so that no gradient is of zeros alone.
        parameter.data.add_(torch.randn_like(parameter) * 1e-3)

    def step() -> None:
        unet(noisy, torch.tensor([500]), told).sample.square().mean().backward()
        for parameter in parameters:
            parameter.grad = None

    return Side(step, sum(parameter.numel() for parameter in parameters))


def ours(unet: Any, latents: int, given: Mapping[str, Any]) -> Side:
    import torch
    from torch import nn

    from engine.models.parts import Parts
    from engine.models.sd import StableDiffusion
    from engine.settings.training import TrainingSettings
    from engine.training.lora_method import LoraMethod

    values = {"network_dim": RANK, "network_alpha": RANK, "conv_dim": RANK, "conv_alpha": RANK, **given}
    settings = TrainingSettings().with_values(values)
    parts = Parts(unet, nn.Identity(), [nn.Identity()], [None])
    method = LoraMethod(StableDiffusion(), parts, settings, total_steps=1, dtype=torch.float32)
    return side(unet, method.network.parameters("unet"), latents)


def theirs(unet: Any, latents: int, told: Mapping[str, Any]) -> Side:
    from lycoris.config import PRESET
    from lycoris.kohya import create_network

    logging.getLogger("LyCORIS").setLevel(logging.ERROR)
    for preset in PRESET.values():  # a class of another model, whose name is met in this UNet too
        classes = preset["unet_target_module"]
        preset["unet_target_module"] = [name for name in classes if name != "TimestepEmbedding"]
    told = dict(told)
    rank = told.pop("rank", RANK)
    network = create_network(1.0, rank, rank, None, None, unet, conv_dim=rank, conv_alpha=rank, **told)
    network.apply_to(None, unet, apply_text_encoder=False, apply_unet=True)
    network.train()
    return side(unet, list(network.parameters()), latents)


def peft_alone(unet: Any, latents: int) -> Side:
    from peft import LoraConfig

    layers = ["to_q", "to_k", "to_v", "to_out.0", "proj_in", "proj_out", "ff.net.0.proj", "ff.net.2"]
    unet.add_adapter(LoraConfig(r=RANK, lora_alpha=RANK, target_modules=layers))
    return side(unet, [parameter for parameter in unet.parameters() if parameter.requires_grad], latents)


def standard_like(unet: Any, latents: int, trained: int) -> tuple[int, Side]:
    """A Standard LoRA of the rank that comes nearest to this many numbers."""
    of_one = ours(copied(unet), latents, {"lora_type": "Standard", "network_dim": 1}).trained
    rank = min(max(round(trained / of_one), 1), MOST_OF_STANDARD)
    return rank, ours(unet, latents, {"lora_type": "Standard", "network_dim": rank})


def extra_memory(of: Side) -> int:
    """Bytes that a step takes at its peak beyond those that were taken before it."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
    before = peak()
    of.step()
    return peak() - before


def measured(unet: Any, case: str, given: argparse.Namespace) -> dict[str, Any]:
    options, told = CASES[case]
    rank, latents = RANK, given.latents
    sides = {"ours": ours(copied(unet), latents, {"lycoris_preset": given.preset, **options})}
    if told is not None:
        sides["other"] = (
            theirs(copied(unet), latents, {"preset": given.preset, **told})
            if told
            else peft_alone(copied(unet), latents)
        )
    if case != "Standard":
        rank, sides["standard"] = standard_like(copied(unet), latents, sides["ours"].trained)
    taken = {name: extra_memory(side) for name, side in sides.items()}  # and each has been warmed up
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(given.rounds):
        # Now this one first, now that one.
        for name in list(sides)[:: 1 if number % 2 else -1]:
            began = time.process_time()
            sides[name].step()
            times[name].append(time.process_time() - began)
    return {"times": times, "memory": taken, "rank": rank}


def row(case: str, found: Mapping[str, Any]) -> str:
    times, memory = found["times"], found["memory"]

    def ratio(name: str) -> str:
        if name not in times:
            return " | "
        time_ratio = statistics.median(a / b for a, b in zip(times["ours"], times[name], strict=True))
        return f"{time_ratio:.2f} | {memory['ours'] / memory[name]:.2f}"

    names = ("ours", "other")
    seconds = " | ".join(f"{statistics.median(times[name]):.1f} s" if name in times else "" for name in names)
    gib = " | ".join(f"{memory[name] / 2**30:.2f} GiB" if name in memory else "" for name in names)
    return (f"| {case} | {seconds} | {gib} | {ratio('other')} | {found['rank']} | {ratio('standard')} "
            f"| {os.getloadavg()[0]:.1f} |")  # fmt: skip


def all_here(given: argparse.Namespace) -> None:
    import torch
    from diffusers import UNet2DConditionModel

    from engine.models.sd import CONFIGS

    torch.set_num_threads(1)
    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(CONFIGS[1] / "unet"))
    unet.requires_grad_(False).train()
    heads = ("kind", "a step", "the other's", "memory", "the other's", "time: ratio", "memory: ratio",
             "rank of the Standard", "time: ratio", "memory: ratio", "load")  # fmt: skip
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|", flush=True)
    for case in given.only or CASES:
        print(row(case, measured(unet, case, given)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", choices=CASES, nargs="*")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--latents", type=int, default=16, help="side of the latents")
    parser.add_argument("--preset", default="attn-mlp", help="LyCORIS's: which layers")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here:
        all_here(given)
        return
    # glibc reads its settings, which are those of a run, as a process starts.
    variables = {**os.environ, **process.ALLOCATOR, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.networks", *sys.argv[1:], "--here"]
    subprocess.run(command, cwd=ROOT, env=variables, check=True)


if __name__ == "__main__":
    main()
