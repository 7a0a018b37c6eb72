"""Blocks that wait in main memory."""

from __future__ import annotations

import copy
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

from engine.models.conditioning import Reading
from engine.models.families import family_of
from engine.models.parts import Parts
from engine.models.quantize import quantize
from engine.networks.lora import LoraNetwork
from engine.networks.made import kind_of, network_of, trained_layers
from engine.networks.shares import Shares
from engine.settings.training import TrainingSettings
from engine.training.block_swap import BlockSwap, Swapped, blocks_of
from tests.models.small import pipeline

CPU = torch.device("cpu")


@pytest.fixture(scope="module", params=["flux", "sd3", "chroma", "lumina"])
def model(request: Any, tmp_path_factory: Any) -> Any:
    folder = tmp_path_factory.mktemp("model")
    pipeline(request.param).save_pretrained(folder)
    switch = {"sd3": "sd3_checkbox", "lumina": "lumina_checkbox"}.get(request.param, "flux1_checkbox")
    settings = TrainingSettings().with_values({"pretrained_model_name_or_path": str(folder), switch: True})
    family = family_of(settings)
    parts = family.load(settings, torch.float32)
    with torch.no_grad():
        return family, parts, family.encode_text(parts, ["a red circle"], Reading())


def make_home_useless(one: Swapped) -> None:
    """As it is for a GPU: what stands in a block that is away must not be computed with, whenever it was looked up."""
    useful = {id(home): home.clone() for _, _, home in one._homes}

    def come(device: torch.device) -> None:
        for holder, name, home in one._homes:
            here = useful[id(home)].clone()
            holder[name] = torch.nn.Parameter(here, False) if isinstance(home, torch.nn.Parameter) else here
        one.is_here = True

    for _, _, home in one._homes:
        home.data.view(torch.uint8).fill_(255) if home.element_size() == 1 else home.data.fill_(float("nan"))
    one.come = come  # type: ignore[method-assign]


def step(model: Any, swapped: int, form: Any = None) -> tuple[Tensor, Tensor, BlockSwap | None, int]:
    """(answer, gradients of the LoRA, the swap, the most blocks that were here at once)."""
    family, parts, told = model
    parts = Parts(copy.deepcopy(parts.denoiser), parts.vae, parts.text_encoders, parts.tokenizers, "flow")
    torch.manual_seed(0)
    network = LoraNetwork(family.lora_targets(parts)[-1:], rank=4, alpha=4)
    parts.denoiser.enable_gradient_checkpointing()
    parts.denoiser.train()
    if form:
        quantize(parts.denoiser, form, CPU)
    swap = BlockSwap(parts.denoiser, swapped, CPU) if swapped else None
    for one in swap.swapped if swap else ():
        make_home_useless(one)
    here = [0]
    for block in blocks_of(parts.denoiser):
        block.register_forward_pre_hook(lambda *_: here.append(sum(one.is_here for one in swap.swapped) if swap else 0))
    torch.manual_seed(2)
    answer = family.predict(parts, torch.randn(1, 16, 8, 8), torch.tensor([500.0]), told, torch.zeros(1, 6))
    answer.square().mean().backward()
    gradients = torch.cat([p.grad.flatten() for p in network.parameters("unet") if p.grad is not None])
    return answer.detach(), gradients, swap, max(here)


@pytest.mark.shows("blocks_to_swap")
@pytest.mark.parametrize("form", [None, "fp8", "int8", "nf4"])
def test_a_step_is_the_same_to_the_bit_and_weights_come_one_block_at_a_time(model: Any, form: Any):
    answer, gradients, _, _ = step(model, 0, form)
    blocks = len(blocks_of(model[1].denoiser))
    for count in (1, blocks - 1, blocks):
        again, same, swap, most = step(model, count, form)
        assert torch.equal(again, answer)
        assert torch.equal(same, gradients)
        assert swap is not None
        assert len(swap.swapped) == count
        assert most == 1
        assert not any(one.is_here for one in swap.swapped)  # all are home again


KINDS: dict[str, dict[str, Any]] = {
    "DoRA": {"lora_type": "LyCORIS/LoCon", "dora_wd": True},
    "DoRA on input": {"lora_type": "LyCORIS/LoCon", "dora_wd": True, "wd_on_output": False},
    "LoKr": {"lora_type": "LyCORIS/LoKr"},
    "GLoRA": {"lora_type": "LyCORIS/GLoRA"},
}
"""Those that look at the weight which they change."""


@pytest.mark.parametrize("kind", KINDS)
def test_networks_that_look_at_the_weight_let_it_go_with_its_block(model: Any, kind: str):
    family, parts, told = model
    parts = Parts(copy.deepcopy(parts.denoiser), parts.vae, parts.text_encoders, parts.tokenizers, "flow")
    settings = TrainingSettings().with_values({"network_dim": 4, **KINDS[kind]})
    changes = kind_of(settings)
    assert changes is not None
    trained, shares = trained_layers(family.lora_targets(parts)[-1:], Shares(settings))
    network = network_of(settings, changes, trained, shares, torch.float32)
    parts.denoiser.enable_gradient_checkpointing()
    parts.denoiser.train()
    swap = BlockSwap(parts.denoiser, len(blocks_of(parts.denoiser)), CPU)
    alive = [0]
    for one in swap.swapped:
        count_what_comes(one, alive)
    answer = family.predict(parts, torch.randn(1, 16, 8, 8), torch.tensor([500.0]), told, torch.zeros(1, 6))
    assert alive == [0]
    answer.square().mean().backward()
    del answer
    assert alive == [0]
    assert all(parameter.grad is not None for parameter in network.parameters("unet"))


def count_what_comes(one: Swapped, alive: list[int]) -> None:
    """alive: bytes of a block's tensors on the device; torch's own objects may go while their numbers stay."""

    def come(device: torch.device) -> None:
        for holder, name, home in one._homes:
            numbers = home.detach().numpy().copy()
            alive[0] += numbers.nbytes
            weakref.finalize(numbers, lambda size: alive.__setitem__(0, alive[0] - size), numbers.nbytes)
            here = torch.from_numpy(numbers)
            del numbers
            holder[name] = torch.nn.Parameter(here, False) if isinstance(home, torch.nn.Parameter) else here
        one.is_here = True

    one.come = come  # type: ignore[method-assign]


def test_what_waits_is_only_what_does_not_learn(model: Any):
    """A block that is away has its weights in main memory and its LoRA where the optimizer works."""
    _, _, swap, _ = step(model, 1)
    assert swap is not None
    homes = {home.data_ptr() for _, _, home in swap.swapped[0]._homes}
    for name, parameter in swap.swapped[0].block.named_parameters():
        assert (parameter.data_ptr() in homes) == ("lora_" not in name), name
