"""What is left out at random of a matrix that several modules here share: drawn once, as sd-scripts draws it.

There a fused matrix has one LoRA (or, split, one decision for all its parts): with a probability of 0.3 of being left
out it is active in 70 % of the steps, never in part.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from engine.networks.dropout import Dropouts
from engine.networks.lora import LoraNetwork
from tests.models.loading import loaded
from tests.models.small import SETTINGS
from tests.models.small import pipeline as small

PASSES = 400


@pytest.fixture(scope="module", params=["flux", "chroma", "sd3", "lumina"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tmp_path_factory.mktemp(request.param)
    small(request.param).save_pretrained(folder)
    return lambda: loaded(folder, **SETTINGS[request.param])


def shared(model: Any, **dropouts: float) -> tuple[list[Any], int]:
    """The layers of the first fused matrix, its weights 1 throughout, and how many values they are shown."""
    family, parts = model()
    target = family.lora_targets(parts)[-1]
    attachment = next(one for one in target.attachments if len(one.paths) > 1)
    LoraNetwork([target], rank=4, alpha=4, dropouts=Dropouts(**dropouts))
    layers: list[Any] = [target.module.get_submodule(path) for path in attachment.paths]
    for layer in layers:
        for matrix in (layer.lora_A.default, layer.lora_B.default):
            nn.init.ones_(matrix.weight)
        layer.base_layer.weight.data.zero_()
        if layer.base_layer.bias is not None:
            layer.base_layer.bias.data.zero_()
        layer.train()
    return layers, layers[0].in_features


def passes(layers: list[Any], wide: int, count: int = PASSES, shown: tuple[int, int] = (2, 3)) -> list[list[Tensor]]:
    """What each layer adds, pass by pass; in another order each time, for families differ in theirs."""
    orders = itertools.cycle(itertools.permutations(range(len(layers))))
    answers = []
    with torch.no_grad():
        for order in itertools.islice(orders, count):
            first = order[0]  # the next pass begins with one that was called before, whatever the order
            added = {number: layers[number](torch.ones(*shown, wide)) for number in (first, *order[1:])}
            answers.append([added[number] for number in range(len(layers))])
    return answers


@pytest.mark.parametrize("chance", [0.3, 0.5, 0.8])
@pytest.mark.shows("module_dropout")
def test_a_shared_matrix_is_left_out_as_a_whole(model: Any, chance: float):
    torch.manual_seed(0)
    layers, wide = shared(model, module=chance)
    active = [[bool(one.any()) for one in added] for added in passes(layers, wide)]
    assert all(len(set(together)) == 1 for together in active)
    expected, spread = PASSES * (1 - chance), (PASSES * chance * (1 - chance)) ** 0.5
    assert abs(sum(together[0] for together in active) - expected) < 4 * spread


@pytest.mark.shows("rank_dropout")
def test_the_same_ranks_are_left_out_of_its_parts(model: Any):
    torch.manual_seed(0)
    layers, wide = shared(model, rank=0.5)
    answers = passes(layers, wide)
    # All parts' ups are 1, so each of their values is the sum of the ranks that stayed: 0, 2, … 8 times the input.
    seen = [[one[:, :1, :1] / wide for one in added] for added in answers]
    assert all(torch.allclose(one, together[0]) for together in seen for one in together)
    kept = torch.stack([together[0] for together in seen]).mean() / 8
    assert kept.item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.shows("network_dropout")
def test_the_same_values_are_left_out_of_its_parts(model: Any):
    torch.manual_seed(0)
    layers, wide = shared(model, network=0.5)
    answers = passes(layers, wide, 50)
    assert all(torch.equal(one[..., :1], added[0][..., :1]) for added in answers for one in added)
    assert any((added[0][:, :1] != added[0]).any() for added in answers)  # but place by place, not by sample


@pytest.mark.parametrize("chances", [{"module": 0.5}, {"rank": 0.5}, {"network": 0.5, "rank": 0.3, "module": 0.3}])
def test_a_block_that_is_computed_again_for_its_gradients_leaves_out_the_same(model: Any, chances: dict[str, float]):
    torch.manual_seed(0)
    layers, wide = shared(model, **chances)
    answers: list[list[Tensor]] = []

    def block(shown: Tensor) -> Tensor:
        answers.append([layer(shown) for layer in reversed(layers)])
        return torch.cat(answers[-1], dim=-1).square().sum()

    for _ in range(20):
        answers.clear()
        checkpoint(block, torch.ones(2, 3, wide, requires_grad=True), use_reentrant=False).backward()
        first, again = answers
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_outside_training_nothing_is_left_out_and_nothing_is_drawn(model: Any):
    layers, wide = shared(model, module=0.9, rank=0.5, network=0.5)
    for layer in layers:
        layer.eval()
    before = torch.get_rng_state()
    assert all(one.min() > 0 for added in passes(layers, wide, 20) for one in added)
    assert torch.equal(before, torch.get_rng_state())
