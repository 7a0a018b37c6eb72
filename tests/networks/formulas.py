"""The change of a weight by each kind's published formula, from what a file holds: written apart from the engine."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def by_place(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """What a file holds, by place and by how names end."""
    places: dict[str, dict[str, Tensor]] = {}
    for name, tensor in weights.items():
        place, _, end = name.partition(".")
        places.setdefault(place, {})[end] = tensor
    return places


def change(tensors: Mapping[str, Tensor], weight: Tensor) -> Tensor:
    """tensors: of one place, by how their names end.  weight: the original one there."""
    held = {name: tensor.double() for name, tensor in tensors.items()}
    weight = weight.double()
    delta = _plain(held, weight)
    if "dora_scale" in held:
        turned = weight + delta
        sides = [side for side, size in enumerate(held["dora_scale"].shape) if size == 1 and turned.shape[side] > 1]
        norm = turned.square().sum(sides, keepdim=True).sqrt()
        delta = turned / norm * held["dora_scale"] - weight
    return delta


def _plain(held: Mapping[str, Tensor], weight: Tensor) -> Tensor:
    if "diff" in held:
        return held["diff"]
    if "on_input" in held:
        shape = [1] * weight.dim()
        shape[1 if held["on_input"] else 0] = -1
        return weight * held["weight"].reshape(shape)
    if "oft_blocks.0" in held:
        return _turned_in_parts(held, weight) - weight
    if "oft_blocks" in held:
        return _turned(held, weight) - weight
    if "hada_w1_a" in held:
        return _hadamard(held).reshape(weight.shape) * held["alpha"] / held["hada_w1_b"].shape[0]
    if any(name.startswith("lokr_") for name in held):
        return _kronecker(held, weight)
    if "a1.weight" in held:
        a1, a2, b1, b2 = (held[f"{name}.weight"].flatten(1) for name in ("a1", "a2", "b1", "b2"))
        into = torch.tensordot(weight, a1 @ a2, dims=([1], [0])).movedim(-1, 1)
        return ((b1 @ b2).reshape(weight.shape) + into) * held["alpha"] / a1.shape[1]
    up, down = held["lora_up.weight"].flatten(1), held["lora_down.weight"]
    if "lora_mid.weight" in held:
        product = torch.einsum("or,rs...,si->oi...", up, held["lora_mid.weight"], down.flatten(1))
    else:
        product = (up @ down.flatten(1)).reshape(weight.shape)
    return product * held["alpha"] / len(down)


def _hadamard(held: Mapping[str, Tensor]) -> Tensor:
    if "hada_t1" not in held:
        return (held["hada_w1_a"] @ held["hada_w1_b"]) * (held["hada_w2_a"] @ held["hada_w2_b"])
    first, second = (
        torch.einsum("rs...,si,ro->oi...", held[f"hada_t{n}"], held[f"hada_w{n}_b"], held[f"hada_w{n}_a"])
        for n in (1, 2)
    )
    return first * second


def _kronecker(held: Mapping[str, Tensor], weight: Tensor) -> Tensor:
    rank = next((len(held[name]) for name in ("lokr_w1_b", "lokr_w2_b") if name in held), None)
    strength = held["alpha"] / rank if rank else 1.0
    small = held["lokr_w1"] if "lokr_w1" in held else held["lokr_w1_a"] @ held["lokr_w1_b"]
    if "lokr_w2" in held:
        large = held["lokr_w2"]
    elif "lokr_t2" in held:
        large = torch.einsum("rs...,ro,si->oi...", held["lokr_t2"], held["lokr_w2_a"], held["lokr_w2_b"])
    else:
        large = (held["lokr_w2_a"] @ held["lokr_w2_b"]).reshape(len(held["lokr_w2_a"]), -1, *weight.shape[2:])
    product = torch.stack([torch.stack([row * large for row in rows]) for rows in small])  # a, b, c, d, …
    return product.movedim(2, 1).reshape(weight.shape) * strength


def _turned(held: Mapping[str, Tensor], weight: Tensor) -> Tensor:
    blocks = held["oft_blocks"]
    side, rows = blocks.shape[-1], len(weight)
    skew = blocks - blocks.mT
    most = held["alpha"] * rows
    if most > 0:
        skew = skew * min(1.0, float(most / skew.norm()))
    one = torch.eye(side, dtype=skew.dtype)
    rotations = (one + skew) @ torch.linalg.inv(one - skew)
    flat = weight.flatten(1)
    if blocks.dim() == 3:
        turned = torch.cat([rotation.mT @ part for rotation, part in zip(rotations, flat.split(side), strict=True)])
    else:
        turned = flat
        for stage, of_stage in enumerate(rotations):
            # Butterfly: pairs of groups of 2^stage · side/2 rows are dealt into one another, turned, and dealt back.
            group = 2**stage * side // 2
            order = torch.arange(rows).reshape(-1, 2, group).mT.reshape(-1)
            dealt = torch.cat([r @ part for r, part in zip(of_stage, turned[order].split(side), strict=True)])
            turned = torch.empty_like(dealt)
            turned[order] = dealt
    if "rescale" in held:
        turned = turned * held["rescale"].flatten(1)
    return turned.reshape(weight.shape)


def _turned_in_parts(held: Mapping[str, Tensor], weight: Tensor) -> Tensor:
    """sd-scripts' OFT of FLUX.1: queries, keys and values of one matrix are turned apart."""
    all_blocks = [held[f"oft_blocks.{part}"] for part in range(len(held) - 1)]
    rows = [blocks.shape[0] * blocks.shape[1] for blocks in all_blocks]
    turned = []
    for blocks, part in zip(all_blocks, weight.split(rows), strict=True):
        skew = blocks - blocks.mT
        skew = skew * min(1.0, float(held["alpha"] * len(part) / skew.norm()))
        one = torch.eye(blocks.shape[1], dtype=skew.dtype)
        rotations = (one + skew) @ torch.linalg.inv(one - skew)
        turned += [r.mT @ few for r, few in zip(rotations, part.split(blocks.shape[1]), strict=True)]
    return torch.cat(turned)
